"""Who calls: users, organizations, their members, and the tokens that prove it."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session, aliased

from fin_qlora_hub.access.names import check_namespace
from fin_qlora_hub.access.reach import Reach
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import (
    AlreadyExistsError,
    BadRequestError,
    ForbiddenError,
    InvalidTokenError,
    NotFoundError,
)
from fin_qlora_hub.metadata.tables import IssuedSecret, Membership, Namespace, Repository, Token
from fin_qlora_hub.text import quoted

TOKEN_PREFIX = "fqh_"
# The kind of a namespace of another hub: its members read, and nobody writes.
MIRROR = "mirror"
SIGN_IN_PREFIX = "fqs_"
MAX_TOKEN_NAME = 100
_LOOKUP_LENGTH = len(TOKEN_PREFIX) + 8
_tokens, _users, _issued = Token.__table__.c, Namespace.__table__.c, IssuedSecret.__table__.c
_CALLER = (
    *(_users.id, _users.name, _users.full_name, _users.email, _tokens.id, _tokens.kind),
    *(_tokens.name, _tokens.role, _tokens.reach, _tokens.created_at, _tokens.last_used_at),
)
# Built once: every request runs one of them.
_BY_LOOKUP = (
    select(_tokens.digest, _tokens.expires_at, *_CALLER)
    .join_from(Token.__table__, Namespace.__table__, _users.id == _tokens.user_id)
    .where(_tokens.lookup == bindparam("lookup"))
)
# Nobody has a role in it.
_NOWHERE = Namespace(id=-1, name="")

_BY_ISSUED = (
    select(_issued.digest, _issued.expires_at, *_CALLER)
    .join_from(IssuedSecret.__table__, Token.__table__, _tokens.id == _issued.token_id)
    .join(Namespace.__table__, _users.id == _tokens.user_id)
    .where(_issued.lookup == bindparam("lookup"))
)


_ORGANIZATIONS = select(Membership.organization_id).where(Membership.user_id == bindparam("user"))


class Role(StrEnum):
    """What a member may do in a namespace, and how far a token carries."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    @property
    def writes(self) -> bool:
        """Whether this role may change anything."""
        return self is not Role.READ


class TokenKind(StrEnum):
    """How a token came to be: by name, by a sign-in in a browser, in exchange for another's."""

    ACCESS = "access"
    SIGN_IN = "sign-in"
    EXCHANGED = "exchange"


@dataclass(frozen=True)
class Caller:
    """An authenticated user and the reach of the token that they sent; no reach means all."""

    user_id: int
    name: str
    full_name: str
    email: str | None
    token_name: str
    token_role: Role
    token_created_at: datetime
    token_expires_at: datetime | None = None
    token_id: int = 0
    token_kind: TokenKind = TokenKind.ACCESS
    token_used_at: datetime | None = None
    reach: Reach | None = None


@dataclass(frozen=True)
class OrganizationMembership:
    """One organization of a user, and their role in it."""

    name: str
    full_name: str
    role: Role


def add_user(
    session: Session, name: str, *, full_name: str | None = None, email: str | None = None
) -> Namespace:
    """Make a user, who may write in the namespace of their own name."""
    user = _add_namespace(session, name, kind="user", full_name=full_name, email=email)
    record(session, Act.USER_ADDED, user=name)
    return user


def add_organization(
    session: Session, name: str, *, owner: str, full_name: str | None = None
) -> Namespace:
    """Make an organization with `owner` as its administrator."""
    user = find_user(session, owner)
    organization = _add_namespace(session, name, kind="org", full_name=full_name, email=None)
    session.add(Membership(organization_id=organization.id, user_id=user.id, role=Role.ADMIN))
    record(session, Act.ORGANIZATION_ADDED, organization=name, owner=user.name)
    return organization


def grant(session: Session, organization: str, user: str, *, role: Role) -> None:
    """Give a user a role in an organization, in place of any that they had.

    What is mirrored can only be read.
    """
    found = _find_organization(session, organization)
    if found.kind == MIRROR and role is not Role.READ:
        raise BadRequestError(f"{found.name} is mirrored from another hub: grant the role 'read'.")
    session.merge(
        Membership(
            organization_id=found.id,
            user_id=find_user(session, user).id,
            role=role,
        )
    )
    record(session, Act.ROLE_GRANTED, organization=organization, user=user, role=role.value)


def revoke(session: Session, organization: str, user: str) -> None:
    """Take a user out of an organization."""
    membership = session.get(
        Membership,
        (_find_organization(session, organization).id, find_user(session, user).id),
    )
    if membership is None:
        raise NotFoundError(f"{user!r} is not a member of {organization!r}.")
    session.delete(membership)
    record(session, Act.ROLE_REVOKED, organization=organization, user=user)


def list_users(session: Session) -> list[Namespace]:
    """Return all users in the order of their names."""
    return list(
        session.scalars(select(Namespace).filter_by(kind="user").order_by(Namespace.name_key))
    )


def list_members(session: Session) -> list[tuple[str, str, str]]:
    """Return organization, user and role of every membership, in this order."""
    user = aliased(Namespace)
    rows = session.execute(
        select(Namespace.name, user.name, Membership.role)
        .join(Membership, Membership.organization_id == Namespace.id)
        .join(user, user.id == Membership.user_id)
        .order_by(Namespace.name_key, user.name_key)
    )
    return [(organization, member, role) for organization, member, role in rows]


def create_token(
    session: Session,
    user: str,
    *,
    name: str,
    role: Role,
    expires_at: datetime | None = None,
    reach: Reach | None = None,
) -> str:
    """Make an access token and return it; only its digest is kept, so it is shown this once."""
    if role is Role.ADMIN:
        raise BadRequestError("A token's role is 'read' or 'write'.")
    if not name.strip() or len(name) > MAX_TOKEN_NAME or not name.isprintable():
        raise BadRequestError(
            f"Token name {quoted(name)} is not allowed: use 1 to {MAX_TOKEN_NAME} printable "
            "characters, such as 'laptop'."
        )
    owner = find_user(session, user)
    if session.scalar(select(Token).filter_by(user_id=owner.id, name=name)) is not None:
        raise AlreadyExistsError(
            f"{user!r} already has a token named {name!r}: choose another name, "
            "or revoke that one first."
        )
    secret = new_secret(TOKEN_PREFIX)
    session.add(
        Token(
            user_id=owner.id,
            name=name,
            role=role,
            lookup=lookup_of(secret),
            digest=digest_of(secret),
            created_at=datetime.now(UTC),
            expires_at=expires_at,
            kind=TokenKind.ACCESS,
            reach=None if reach is None else list(reach.resources),
        )
    )
    end = None if expires_at is None else expires_at.isoformat(timespec="seconds")
    record(session, Act.TOKEN_CREATED, user=user, name=name, role=role.value, expires=end)
    return secret


def list_tokens(session: Session, user: str | None = None) -> list[tuple[Token, str]]:
    """Return the tokens of a user, or of all, with whose they are; the oldest first."""
    query = (
        select(Token, Namespace.name)
        .join(Namespace, Namespace.id == Token.user_id)
        .order_by(Namespace.name_key, Token.id)
    )
    if user is not None:
        query = query.where(Token.user_id == find_user(session, user).id)
    return [(token, name) for token, name in session.execute(query)]


def revoke_token(session: Session, user: str, *, name: str) -> None:
    """Make a token useless from now on, and the sign-ins that were approved by it."""
    owner = find_user(session, user)
    number = session.scalar(select(Token.id).filter_by(user_id=owner.id, name=name))
    if number is None:
        raise NotFoundError(f"{user!r} has no token named {name!r}.")
    record(session, Act.TOKEN_REVOKED, user=user, name=name)
    end_tokens(session, {number})


def revoke_all_tokens(session: Session, user: str) -> int:
    """Make all tokens and sign-ins of a user useless from now on; return how many there were."""
    found = list_tokens(session, user)
    for token, _ in found:
        record(session, Act.TOKEN_REVOKED, user=user, name=token.name)
    end_tokens(session, {token.id for token, _ in found})
    return len(found)


def end_tokens(session: Session, numbers: set[int]) -> None:
    """Remove tokens, and all sign-ins that were approved by any of them."""
    while numbers:
        approved = set(session.scalars(select(Token.id).where(Token.approved_by.in_(numbers))))
        session.execute(delete(Token).where(Token.id.in_(numbers)))
        numbers = approved


def authenticate(session: Session, secret: str) -> Caller:
    """Return whose token this is; raises InvalidTokenError for any that does not count."""
    digest = digest_of(secret)
    statement = _BY_ISSUED if secret.startswith(SIGN_IN_PREFIX) else _BY_LOOKUP
    rows = session.connection().execute(statement, {"lookup": lookup_of(secret)})
    for known, expires_at, *row in rows:
        if not hmac.compare_digest(known, digest):
            continue
        if expires_at is not None and expires_at <= datetime.now(UTC):
            continue
        user_id, user, full_name, email, token_id, kind, name, role, reach, made, used = row
        return Caller(
            user_id=user_id,
            name=user,
            full_name=full_name,
            email=email,
            token_name=name,
            token_role=Role(role),
            token_created_at=made,
            token_expires_at=expires_at,
            token_id=token_id,
            token_kind=TokenKind(kind),
            token_used_at=used,
            reach=None if reach is None else Reach(tuple(reach)),
        )
    raise InvalidTokenError("Invalid credentials in Authorization header")


def organizations_of(session: Session, caller: Caller) -> list[OrganizationMembership]:
    """List the organizations that the caller belongs to, by name."""
    rows = session.execute(
        select(Namespace, Membership.role)
        .join(Membership, Membership.organization_id == Namespace.id)
        .where(Membership.user_id == caller.user_id)
        .order_by(Namespace.name_key)
    )
    return [OrganizationMembership(n.name, n.full_name, Role(role)) for n, role in rows]


def role_in(
    session: Session, caller: Caller, namespace: Namespace, *, of: tuple[str, str] | None = None
) -> Role | None:
    """Return what the caller may do in a namespace, as far as their token carries.

    With the kind and the name of a repository, what they may do with that one: a token may be
    limited to it.
    """
    if caller.reach is not None and not caller.reach.holds(namespace.name, of=of):
        return None
    if namespace.id == caller.user_id:
        role = Role.ADMIN
    else:
        membership = session.get(Membership, (namespace.id, caller.user_id))
        if membership is None:
            return None
        role = Role(membership.role)
    return role if caller.token_role.writes else Role.READ


def role_under(
    session: Session, caller: Caller, name: str, *, of: tuple[str, str] | None = None
) -> tuple[Namespace, Role] | tuple[None, None]:
    """Return a namespace in which the caller has a role, and that.

    One that is not there costs the same questions as one that is not theirs.
    """
    namespace = find_namespace(session, name)
    role = role_in(session, caller, _NOWHERE if namespace is None else namespace, of=of)
    return (None, None) if namespace is None or role is None else (namespace, role)


def role_for(session: Session, caller: Caller, repository: Repository) -> Role | None:
    """Return what the caller may do with a repository, as far as their token carries."""
    named = (repository.kind, repository.name)
    return role_in(session, caller, repository.namespace, of=named)


def require_within(caller: Caller, repository: Repository) -> None:
    """Refuse to change anything outside of what a token is limited to, whatever is open to all."""
    named = (repository.kind, repository.name)
    if caller.reach is not None and not caller.reach.holds(repository.namespace.name, of=named):
        raise ForbiddenError(
            "This token is limited to " + ", ".join(caller.reach.resources) + ": elsewhere it only "
            "reads what is public."
        )


def namespaces_of(session: Session, caller: Caller | None) -> set[int]:
    """Return the numbers of the namespaces in which the caller has a role, as far as it carries."""
    if caller is None:
        return set()
    organizations = session.connection().scalars(_ORGANIZATIONS, {"user": caller.user_id})
    found = {caller.user_id, *organizations}
    if caller.reach is not None:
        keys = [resource.lower() for resource in caller.reach.resources]
        found &= set(session.scalars(select(Namespace.id).where(Namespace.name_key.in_(keys))))
    return found


def find_namespace(session: Session, name: str) -> Namespace | None:
    """Return the user or organization of this name, in whatever case it is written."""
    return session.scalar(select(Namespace).filter_by(name_key=name.lower()))


def require_namespace(session: Session, name: str) -> Namespace:
    """Return the user or organization of this name; raises NotFoundError."""
    found = find_namespace(session, name)
    if found is None:
        raise NotFoundError(f"There is no user or organization {name!r}.")
    return found


def find_user(session: Session, name: str) -> Namespace:
    """Return a user; raises NotFoundError."""
    return _find(session, name, kind="user", what="user")


def _find_organization(session: Session, name: str) -> Namespace:
    known = find_namespace(session, name)
    if known is not None and known.kind == MIRROR:
        return known
    return _find(session, name, kind="org", what="organization")


def _find(session: Session, name: str, *, kind: str, what: str) -> Namespace:
    namespace = find_namespace(session, name)
    if namespace is None or namespace.kind != kind:
        raise NotFoundError(
            f"There is no {what} {name!r}: add it with `fin-qlora-hub {kind} add {name}`."
        )
    return namespace


def _add_namespace(
    session: Session, name: str, *, kind: str, full_name: str | None, email: str | None
) -> Namespace:
    check_namespace(name, what="User" if kind == "user" else "Organization")
    if find_namespace(session, name) is not None:
        raise AlreadyExistsError(f"A user or organization {name!r} already exists.")
    namespace = Namespace(
        name=name,
        name_key=name.lower(),
        kind=kind,
        full_name=full_name or name,
        email=email,
        created_at=datetime.now(UTC),
    )
    session.add(namespace)
    session.flush()
    return namespace


def new_secret(prefix: str) -> str:
    """Return 256 random bits as text."""
    return prefix + secrets.token_urlsafe(32)


def lookup_of(secret: str) -> str:
    """Return the part of a token by which it is found, which is kept as it is."""
    return secret[:_LOOKUP_LENGTH]


def digest_of(secret: str) -> str:
    """Return what is kept of a token: enough to know it again, not to use it."""
    # A token holds 256 random bits: a fast hash is as safe as a slow one.
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
