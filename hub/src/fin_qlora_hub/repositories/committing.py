"""One request to commit, from its plan to the branch, however many others commit at once."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.contents.storage import Storage
from fin_qlora_hub.git.operations import Change
from fin_qlora_hub.git.references import PULL_REQUESTS, find_branch
from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.metadata.tables import Repository
from fin_qlora_hub.repositories.commits import (
    BranchMovedError,
    Plan,
    carry_out,
    find_request,
    plan_commit,
)
from fin_qlora_hub.repositories.discussions import (
    MAX_TITLE,
    Status,
    note_commit,
    number_of_commit,
    open_pull_request,
)
from fin_qlora_hub.repositories.proposing import open_for, open_proposable
from fin_qlora_hub.repositories.repository import RepositoryName, full_name
from fin_qlora_hub.stores.publishing import publish
from fin_qlora_hub.text import shortened

ATTEMPTS = 3


@dataclass(frozen=True)
class Committed:
    """The commit that holds a change; `head` is given where the branch has gone on since.

    `pull_request` is the number of the one that was opened for it.
    """

    oid: str
    repository: str
    head: str | None = None
    pull_request: int | None = None


def commit_change(
    database: Database,
    storage: Storage,
    target: RepositoryName,
    *,
    branch: str,
    change: Change,
    caller: Caller | None,
) -> Committed:
    """Make the commit that a caller asks for, or find that it was made before.

    The contents become readable under their hashes, and durable, before the transaction: a crash
    in between leaves a content that nothing names.
    """
    for attempt in range(ATTEMPTS):
        with database.reading() as session:
            repository = open_for(session, target, caller, branch=branch)
            assert caller is not None
            plan = plan_commit(
                *(session, storage, repository),
                branch=branch,
                change=change,
                author=caller,
                published=attempt > 0,
            )
            name = full_name(repository)
        if plan.done is not None:
            return _found(plan, name)
        published = publish(database, storage.blobs, change.blobs)
        try:
            with database.writing() as session:
                published.confirm(session)
                repository = open_for(session, target, caller, branch=branch)
                return Committed(_done(session, repository, plan, caller), name)
        except BranchMovedError:
            continue
    with database.writing() as session:  # others are always faster: plan where nobody can move it
        published.confirm(session)
        repository = open_for(session, target, caller, branch=branch)
        assert caller is not None
        plan = plan_commit(
            *(session, storage, repository),
            branch=branch,
            change=change,
            author=caller,
            published=True,
        )
        if plan.done is not None:
            return _found(plan, full_name(repository))
        return Committed(_done(session, repository, plan, caller), full_name(repository))


def commit_as_pull_request(
    database: Database,
    storage: Storage,
    target: RepositoryName,
    *,
    base: str,
    change: Change,
    caller: Caller | None,
) -> Committed:
    """Open a pull request into a branch and make its first commit, both or neither.

    The same request, sent again within ten minutes, finds the one that it opened.
    """
    with database.reading() as session:
        open_proposable(session, target, caller)
    published = publish(database, storage.blobs, change.blobs)
    with database.writing() as session:
        published.confirm(session)
        repository = open_proposable(session, target, caller)
        assert caller is not None
        # The new branch has a number that no repetition would know.
        branch = f"{find_branch(session, repository, base).name} by a new pull request"
        digest = change.digest(author=caller.name, branch=branch)
        made = find_request(session, repository, digest)
        num = None if made is None else number_of_commit(session, repository, made.oid)
        if made is not None and num is not None:
            return Committed(made.oid, full_name(repository), pull_request=num)
        opened = open_pull_request(
            *(session, repository),
            title=shortened(change.title, limit=MAX_TITLE - 1),
            description=change.message or change.title,
            author=caller,
            base=base,
            start=change.parent,
        )
        plan = plan_commit(
            *(session, storage, repository),
            branch=f"{PULL_REQUESTS}{opened.num}",
            change=change,
            author=caller,
            published=True,
            digest=digest,
        )
        oid = plan.done or _done(session, repository, plan, caller)
        opened.status = Status.OPEN
        return Committed(oid, full_name(repository), pull_request=opened.num)


def _done(session: Session, repository: Repository, plan: Plan, caller: Caller) -> str:
    oid = carry_out(session, repository, plan, author=caller)
    if plan.branch.startswith(PULL_REQUESTS):
        title = plan.change.title
        note_commit(session, repository, plan.branch, oid=oid, title=title, author=caller)
    return oid


def _found(plan: Plan, name: str) -> Committed:
    assert plan.done is not None
    return Committed(plan.done, name, head=None if plan.done == plan.head else plan.head)
