"""Repositories found by a part of their names.

Every end of a full name stands sorted in a table, so those that hold a text are a range of it. Ends
are cut off after a while: what is found by a longer text must still be compared with it.
"""

from sqlalchemy import Select, bindparam, delete, func, insert, select
from sqlalchemy.orm import Session

from fin_qlora_hub.metadata.tables import NameEnd, Repository

_ends = NameEnd.__table__.c
_LENGTH: int = _ends.ending.type.length  # type: ignore[attr-defined]
# Greater than whatever a name may hold.
_AFTER = "\x7f"
HOLDING: Select[tuple[int]] = select(_ends.repository_id).where(
    _ends.ending >= bindparam("text_from"), _ends.ending < bindparam("text_to")
)
_SOME = select(func.count()).select_from(HOLDING.limit(bindparam("most")).subquery())


def keep_name(session: Session, repository: Repository) -> None:
    """Let a repository be found by the name that it has now."""
    name = f"{repository.namespace.name_key}/{repository.name_key}"
    ends = sorted({name[start : start + _LENGTH] for start in range(len(name))})
    session.flush()
    session.execute(delete(NameEnd).filter_by(repository_id=repository.id))
    session.execute(
        insert(NameEnd), [{"repository_id": repository.id, "ending": end} for end in ends]
    )


def bounds(text: str) -> dict[str, str]:
    """Return the values that HOLDING needs to find a text in lower case."""
    text = text[:_LENGTH]
    return {"text_from": text, "text_to": text + _AFTER}


def count(session: Session, text: str, *, most: int) -> int:
    """Return in how many names a text may be, counted only up to `most`."""
    return int(session.connection().scalar(_SOME, {**bounds(text), "most": most}) or 0)
