"""A repository made of another one: the same history under a new name, and no bytes sent."""

from typing import Any

from sqlalchemy import Table, insert, literal, not_, select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import place_of, record
from fin_qlora_hub.contents.awaited import require_whole
from fin_qlora_hub.contents.copying import copy_chunked
from fin_qlora_hub.contents.storage import Storage
from fin_qlora_hub.git.references import PULL_REQUESTS
from fin_qlora_hub.metadata.tables import (
    LISTED,
    Commit,
    EvaluationResult,
    Reference,
    Repository,
    RepositoryTag,
    StoredFile,
    TreeEntry,
)
from fin_qlora_hub.repositories.repository import RepositoryName, claim


def duplicate(
    session: Session,
    storage: Storage,
    source: Repository,
    wanted: RepositoryName,
    *,
    private: bool,
    caller: Caller | None,
) -> Repository:
    """Make a repository with the commits, branches, tags and files of `source`.

    Whoever calls has made sure that the source's files may be fetched. Discussions and pull
    requests stay behind. The session must be a writing one: all of it happens, or nothing.
    """
    require_whole(session, source)
    made = claim(session, wanted, private=private, caller=caller)
    made.card, made.card_details = source.card, source.card_details
    session.flush()
    _copy(session, Commit.__table__, source, made, request_digest="")
    _copy(session, TreeEntry.__table__, source, made)
    listed = {name: getattr(made, name) for name in LISTED}
    _copy(session, RepositoryTag.__table__, source, made, **listed)
    _copy(session, EvaluationResult.__table__, source, made)
    references = Reference.__table__
    no_request = not_(references.c.name.startswith(PULL_REQUESTS, autoescape=True))
    _copy(session, references, source, made, only=no_request)
    held = select(StoredFile.sha256).filter_by(repository_id=source.id)
    for sha256 in session.scalars(held).all():
        copy_chunked(session, storage, source, made, sha256)
    origin = place_of(source).name
    record(session, Act.REPOSITORY_DUPLICATED, made, private=private, source=origin)
    return made


def _copy(
    session: Session,
    table: Any,
    source: Repository,
    target: Repository,
    *,
    only: Any = None,
    **changed: Any,
) -> None:
    """Copy the rows of one repository, inside the database."""
    assert isinstance(table, Table)
    values = {"repository_id": target.id, **changed}
    columns = [
        literal(values[column.name], column.type).label(column.name)
        if column.name in values
        else column
        for column in table.columns
    ]
    rows = select(*columns).where(table.c.repository_id == source.id)
    if only is not None:
        rows = rows.where(only)
    session.execute(insert(table).from_select([column.name for column in table.columns], rows))
