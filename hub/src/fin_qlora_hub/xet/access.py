"""What a Xet token says, and whether it still holds."""

import secrets
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, update
from sqlalchemy.orm import Session

from fin_qlora_hub.access.gating import RequestStatus
from fin_qlora_hub.access.identity import Role
from fin_qlora_hub.access.signing import Signer, new_key
from fin_qlora_hub.errors import ForbiddenError, InvalidTokenError, RepositoryNotFoundError
from fin_qlora_hub.metadata.quotas import propose
from fin_qlora_hub.metadata.tables import AccessRequest, HubState, Membership, Repository, Token

TOKEN_SECONDS = 30 * 60
# Nobody's number: where strangers may read, they fetch chunks of what is public.
STRANGER = 0
_IDENTITY = "identity"
_PURPOSE = "xet-token"


class Scope(StrEnum):
    """What a token is for; one for writing reads as well."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True)
class Access:
    """Whose token it is, for which repository, and to which namespace belongs what they send.

    `token_id` is the access token by which they got it, with which it ends.
    """

    repository_id: int
    namespace_id: int
    user_id: int
    scope: Scope
    token_id: int = 0

    @property
    def proposes(self) -> bool:
        """Say whether they send for their own namespace, for a pull request to a repository."""
        return self.scope is Scope.WRITE and self.namespace_id == self.user_id

    def seal(self, signer: Signer) -> tuple[str, int]:
        """Return the token and when it ends, in seconds since 1970."""
        return signer.seal(_PURPOSE, self.claims(), seconds=TOKEN_SECONDS)

    def claims(self) -> dict[str, Any]:
        """Return what a signed address says of whoever may use it."""
        return asdict(self)

    @classmethod
    def open(cls, signer: Signer, token: str) -> "Access":
        """Read a token; raises InvalidTokenError for any that does not count."""
        try:
            return cls.of(signer.open(_PURPOSE, token))
        except ForbiddenError as error:
            raise InvalidTokenError(str(error)) from error

    @classmethod
    def of(cls, claims: dict[str, Any]) -> "Access":
        """Read the claims of a token, or of anything that carries them."""
        return cls(
            repository_id=claims["repository_id"],
            namespace_id=claims["namespace_id"],
            user_id=claims["user_id"],
            scope=Scope(claims["scope"]),
            token_id=claims.get("token_id", 0),
        )


def require(session: Session, access: Access, *, scope: Scope) -> Repository:
    """Return the repository of a token that suffices.

    Meanwhile its user may have lost a role, or the access token by which they got it.
    """
    if scope is Scope.WRITE and access.scope is not Scope.WRITE:
        raise ForbiddenError("This token reads: ask for one that writes.")
    if access.token_id and session.get(Token, access.token_id) is None:
        raise InvalidTokenError("The access token by which this began has been revoked.")
    repository = session.get(Repository, access.repository_id)
    if repository is None:
        raise RepositoryNotFoundError("Repository not found")
    owner = repository.namespace_id
    if access.namespace_id != owner and not access.proposes:
        raise RepositoryNotFoundError("Repository not found")
    if access.namespace_id != owner:
        propose(session)
    if access.user_id == owner:
        return repository
    membership = session.get(Membership, (owner, access.user_id))
    may_write = membership is not None and Role(membership.role).writes
    if scope is Scope.WRITE and not may_write and not access.proposes:
        raise ForbiddenError("You may no longer change this repository.")
    if membership is None and not _is_open(session, repository, access.user_id):
        raise RepositoryNotFoundError("Repository not found")
    return repository


def _is_open(session: Session, repository: Repository, user_id: int) -> bool:
    """Say whether somebody without a role may have the files."""
    if repository.private or repository.gated is None:
        return not repository.private
    request = session.get(AccessRequest, (repository.id, user_id))
    return request is not None and request.status == RequestStatus.ACCEPTED


def generation(session: Session) -> str:
    """Return the name of the present stock of xorbs: clients forget what they knew of another."""
    return session.get_one(HubState, "xet_generation").value


def new_generation(session: Session) -> None:
    """Let clients forget what they believe to be here: some of it is not, or not any more."""
    session.get_one(HubState, "xet_generation").value = secrets.token_hex(4)


def new_keys(connection: Connection) -> None:
    """Let nothing count that was signed before, and clients forget what they sent.

    A hub that was made of another's backup is another hub.
    """
    connection.execute(delete(HubState).where(HubState.name == _IDENTITY))
    for name, value in (("signing_key", new_key()), ("xet_generation", secrets.token_hex(4))):
        connection.execute(update(HubState).where(HubState.name == name).values(value=value))
    connection.execute(delete(HubState).where(HubState.name == "former_signing_key"))


def identity_of(session: Session) -> str | None:
    """Return by what a bucket knows this hub from others, None where it was never asked."""
    found = session.get(HubState, _IDENTITY)
    return None if found is None else found.value


def new_identity(session: Session) -> str:
    """Give the hub a name that no other has."""
    value = secrets.token_hex(16)
    session.add(HubState(name=_IDENTITY, value=value))
    return value
