"""What nobody may change any more: protected branches and tags, and repositories under a hold."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import (
    AlreadyExistsError,
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    RevisionNotFoundError,
)
from fin_qlora_hub.metadata.tables import Hold, ProtectedReference, Reference, Repository
from fin_qlora_hub.text import quoted, shortened

MAX_REASON = 1000
_TAGS, _BRANCHES = "refs/tags/", "refs/heads/"
_RELEASED_BY = "an administrator of the hub can release it with `fin-qlora-hub"
_VALUES_PER_QUERY = 500


def protect(session: Session, repository: Repository, name: str, *, by: str) -> str:
    """Let nobody move or remove a tag or a branch from now on; return its full name.

    Raises BadRequestError where a branch and a tag have that name: whoever asks for the one might
    get the other.
    """
    reference = find_named(session, repository, name)
    if is_protected(session, repository, reference):
        raise AlreadyExistsError(f"{reference} is protected already.")
    twin = twin_of(reference)
    if session.get(Reference, (repository.id, twin)) is not None:
        raise BadRequestError(
            f"{reference} cannot be protected beside {twin}, which clients may mean by the same "
            "name: remove one of the two first."
        )
    session.add(
        ProtectedReference(
            repository_id=repository.id,
            name=reference,
            protected_by=by,
            created_at=datetime.now(UTC),
        )
    )
    record(session, Act.REFERENCE_PROTECTED, repository, ref=reference)
    return reference


def unprotect(session: Session, repository: Repository, name: str) -> str:
    """Let a tag or a branch be moved and removed again; return its full name."""
    reference = find_named(session, repository, name)
    protected = session.get(ProtectedReference, (repository.id, reference))
    if protected is None:
        raise NotFoundError(f"{reference} is not protected.")
    session.delete(protected)
    record(session, Act.REFERENCE_RELEASED, repository, ref=reference)
    return reference


def find_named(session: Session, repository: Repository, name: str) -> str:
    """Return the full name of a tag or branch; a tag comes first where both have the name."""
    plain = not name.startswith((_TAGS, _BRANCHES))
    for full in (_TAGS + name, _BRANCHES + name) if plain else (name,):
        if session.get(Reference, (repository.id, full)) is not None:
            return full
    raise RevisionNotFoundError(f"Invalid rev id: {shortened(name)}")


def twin_of(reference: str) -> str:
    """Return the full name of the branch for that of a tag, and the other way round."""
    if reference.startswith(_TAGS):
        return _BRANCHES + reference.removeprefix(_TAGS)
    return _TAGS + reference.removeprefix(_BRANCHES)


def list_protected(session: Session, repository: Repository) -> Sequence[ProtectedReference]:
    """Return what is protected, by name."""
    query = select(ProtectedReference).filter_by(repository_id=repository.id)
    return session.scalars(query.order_by(ProtectedReference.name)).all()


def is_protected(session: Session, repository: Repository, reference: str) -> bool:
    """Say whether a full name is protected."""
    return session.get(ProtectedReference, (repository.id, reference)) is not None


def require_movable(session: Session, repository: Repository, references: Collection[str]) -> None:
    """Raise ForbiddenError if one of some full names is protected."""
    names = sorted(references)
    for start in range(0, len(names), _VALUES_PER_QUERY):
        query = select(ProtectedReference.name).where(
            ProtectedReference.repository_id == repository.id,
            ProtectedReference.name.in_(names[start : start + _VALUES_PER_QUERY]),
        )
        found = session.scalar(query.limit(1))
        if found is not None:
            raise ForbiddenError(
                f"{found} is protected: it cannot be moved or removed. Use another branch or tag; "
                f"{_RELEASED_BY} unprotect`."
            )


def require_removable(session: Session, repository: Repository) -> None:
    """Raise ForbiddenError if a repository may not go: it is held, or holds what is protected."""
    require_loose(session, repository)
    found = session.scalar(
        select(ProtectedReference.name).filter_by(repository_id=repository.id).limit(1)
    )
    if found is not None:
        raise ForbiddenError(
            f"The repository cannot be removed: its {found} is protected; {_RELEASED_BY} "
            "unprotect`."
        )


def hold(session: Session, repository: Repository, *, reason: str) -> None:
    """Let nothing of a repository be lost from now on, nor be shown to others than before."""
    reason = " ".join(reason.split())
    if not reason or len(reason) > MAX_REASON:
        raise BadRequestError(f"The reason {quoted(reason)} has 1 to {MAX_REASON} characters.")
    if session.get(Hold, repository.id) is not None:
        raise AlreadyExistsError("The repository is under a hold already.")
    session.add(Hold(repository_id=repository.id, reason=reason, created_at=datetime.now(UTC)))
    record(session, Act.HOLD_PLACED, repository, reason=reason)


def release(session: Session, repository: Repository) -> None:
    """End a hold."""
    found = session.get(Hold, repository.id)
    if found is None:
        raise NotFoundError("The repository is under no hold.")
    session.delete(found)
    record(session, Act.HOLD_RELEASED, repository, reason=found.reason)


def list_held(session: Session) -> Sequence[tuple[Repository, Hold]]:
    """Return the repositories under a hold, the newest hold first."""
    query = select(Repository, Hold).join(Hold, Hold.repository_id == Repository.id)
    return [(row[0], row[1]) for row in session.execute(query.order_by(Hold.created_at.desc()))]


def is_held(session: Session, repository: Repository) -> bool:
    """Say whether a repository is under a hold."""
    return session.get(Hold, repository.id) is not None


def require_loose(session: Session, repository: Repository) -> None:
    """Raise ForbiddenError if a repository is under a hold."""
    if is_held(session, repository):
        raise ForbiddenError(
            "The repository is under a hold: nothing of it may be removed, rewritten, moved or "
            f"shown to others; {_RELEASED_BY} release`."
        )
