"""Proposing changes: whoever has a repository's files may open a pull request, and add to it.

What they send belongs to their own namespace until a file uses it, so nobody is told what another
namespace has sent. Then it counts for the repository's, half of whose quota they leave alone.
"""

from sqlalchemy.orm import Session

from fin_qlora_hub.access.gating import require_download
from fin_qlora_hub.access.identity import MIRROR, Caller, Role, require_within, role_for
from fin_qlora_hub.access.visibility import RepositoryName, signed_in
from fin_qlora_hub.git.references import PULL_REQUESTS
from fin_qlora_hub.metadata.quotas import propose
from fin_qlora_hub.metadata.tables import Discussion, Repository
from fin_qlora_hub.repositories.repository import open_readable, open_writable
from fin_qlora_hub.xet.access import Access, Scope


def open_proposable(session: Session, wanted: RepositoryName, caller: Caller | None) -> Repository:
    """Return a repository that the caller may open a pull request for."""
    caller = signed_in(caller)
    repository = open_readable(session, wanted, caller)
    if _may_write(session, repository, caller):
        return repository
    if caller.token_role is Role.READ or repository.namespace.kind == MIRROR:
        return open_writable(session, wanted, caller)  # which says what is missing
    require_within(caller, repository)
    require_download(session, repository, caller)
    propose(session)
    return repository


def open_for(
    session: Session,
    wanted: RepositoryName,
    caller: Caller | None,
    *,
    branch: str,
    create_pr: bool = False,
) -> Repository:
    """Return a repository that the caller may commit to: on the branch, or by a pull request.

    The branch of a pull request is open to whoever began it.
    """
    if create_pr:
        return open_proposable(session, wanted, caller)
    number = branch.removeprefix(PULL_REQUESTS)
    if branch.startswith(PULL_REQUESTS) and number.isdecimal() and len(number) < 10:
        repository = open_proposable(session, wanted, caller)
        opened = session.get(Discussion, (repository.id, int(number)))
        if opened is not None and opened.author == signed_in(caller).name:
            return repository
    return open_writable(session, wanted, caller)


def access_to_send(session: Session, repository: Repository, caller: Caller | None) -> Access:
    """Return what lets a caller send contents for a repository that they may propose to change."""
    caller = signed_in(caller)
    owner = repository.namespace_id if _may_write(session, repository, caller) else caller.user_id
    return Access(repository.id, owner, caller.user_id, Scope.WRITE, token_id=caller.token_id)


def _may_write(session: Session, repository: Repository, caller: Caller) -> bool:
    role = role_for(session, caller, repository)
    return role is not None and role.writes
