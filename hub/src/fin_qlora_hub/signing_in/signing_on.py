"""Who somebody is here whom an OpenID provider knows.

Once they have signed on, the provider's own number counts and no name: whoever gets the name later
is somebody else.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Role, add_user, find_namespace, grant, revoke
from fin_qlora_hub.access.names import check_namespace
from fin_qlora_hub.audit.acting import identify
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import BadRequestError, ForbiddenError
from fin_qlora_hub.metadata.tables import ExternalIdentity, Membership, Namespace
from fin_qlora_hub.signing_in.trust import SignOn

MAX_SUBJECT = 255
MAX_SHOWN = 255
_ORDER = (Role.READ, Role.WRITE, Role.ADMIN)
_logger = logging.getLogger("fin_qlora_hub")


def admit(session: Session, sign_on: SignOn, claims: Mapping[str, Any]) -> Namespace:
    """Return the user whom a provider has sent, with the roles of their groups.

    Raises ForbiddenError.
    """
    subject = str(claims["sub"])
    if not 0 < len(subject) <= MAX_SUBJECT:
        raise _stranger()
    known = session.get(ExternalIdentity, (sign_on.issuer, subject))
    if known is not None:
        user = session.get_one(Namespace, known.user_id)
        identify(name=user.name, token=None)
    else:
        user = _bind(session, sign_on, claims, subject)
    _keep_roles(session, sign_on, claims, user)
    record(session, Act.USER_SIGNED_ON, user=user.name, issuer=sign_on.issuer, subject=subject)
    return user


def _bind(session: Session, sign_on: SignOn, claims: Mapping[str, Any], subject: str) -> Namespace:
    name = claims.get(sign_on.user_claim)
    try:
        check_namespace(name if isinstance(name, str) else "", what="User")
    except BadRequestError:
        raise _stranger() from None
    assert isinstance(name, str)
    identify(name=name, token=None)
    user = find_namespace(session, name)
    if user is None:
        if not sign_on.create_users:
            raise _stranger()
        user = add_user(
            session,
            name,
            full_name=_shown(claims.get("name")),
            email=_shown(claims.get("email")),
        )
    others = select(ExternalIdentity).filter_by(issuer=sign_on.issuer, user_id=user.id)
    if user.kind != "user" or session.scalar(others) is not None:
        raise _stranger()  # the name was somebody else's before
    now = datetime.now(UTC)
    session.add(
        ExternalIdentity(issuer=sign_on.issuer, subject=subject, user_id=user.id, created_at=now)
    )
    return user


def _keep_roles(
    session: Session, sign_on: SignOn, claims: Mapping[str, Any], user: Namespace
) -> None:
    told = claims.get(sign_on.groups_claim)
    groups = {told} if isinstance(told, str) else _texts(told)
    wanted: dict[str, Role | None] = {}
    for group, roles in sign_on.groups.items():
        for organization, role in roles.items():
            before = wanted.setdefault(organization, None)
            if group in groups and (before is None or _ORDER.index(role) > _ORDER.index(before)):
                wanted[organization] = role
    for organization, wished in wanted.items():
        found = find_namespace(session, organization)
        if found is None or found.kind != "org":
            _logger.warning("groups: there is no organization %r", organization)
            continue
        held = session.get(Membership, (found.id, user.id))
        if wished is not None and (held is None or held.role != wished):
            grant(session, organization, user.name, role=wished)
        elif wished is None and held is not None:
            revoke(session, organization, user.name)


def _texts(value: object) -> set[str]:
    return {one for one in value if isinstance(one, str)} if isinstance(value, list) else set()


def _shown(value: object) -> str | None:
    good = isinstance(value, str) and value.isprintable() and 0 < len(value) <= MAX_SHOWN
    return str(value) if good else None


def _stranger() -> ForbiddenError:
    return ForbiddenError(
        "You are known to your institution but not to this hub: ask the hub's administrator."
    )
