"""One request to commit, from its plan to the branch, however many others commit at once."""

from dataclasses import dataclass

from fin_qlora_hub.commits import BranchMovedError, Plan, carry_out, plan_commit
from fin_qlora_hub.database import Database
from fin_qlora_hub.identity import Caller
from fin_qlora_hub.operations import Change
from fin_qlora_hub.repositories import RepositoryName, full_name, open_writable
from fin_qlora_hub.storage import Storage

ATTEMPTS = 3


@dataclass(frozen=True)
class Committed:
    """The commit that holds a change; `head` is given where the branch has gone on since."""

    oid: str
    repository: str
    head: str | None = None


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
            repository = open_writable(session, target, caller)
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
        storage.blobs.publish(change.blobs)
        try:
            with database.writing() as session:
                repository = open_writable(session, target, caller)
                return Committed(carry_out(session, repository, plan, author=caller), name)
        except BranchMovedError:
            continue
    with database.writing() as session:  # others are always faster: plan where nobody can move it
        repository = open_writable(session, target, caller)
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
        oid = carry_out(session, repository, plan, author=caller)
        return Committed(oid, full_name(repository))


def _found(plan: Plan, name: str) -> Committed:
    assert plan.done is not None
    return Committed(plan.done, name, head=None if plan.done == plan.head else plan.head)
