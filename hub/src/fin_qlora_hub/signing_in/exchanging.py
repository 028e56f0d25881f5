"""Tokens for jobs without secrets: a job shows who it is, and gets a token for what it is to do."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import (
    Role,
    TokenKind,
    digest_of,
    find_user,
    lookup_of,
    new_secret,
)
from fin_qlora_hub.access.reach import Reach
from fin_qlora_hub.audit.acting import identify
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import BadRequestError, NotFoundError, OAuthError
from fin_qlora_hub.metadata.tables import Token
from fin_qlora_hub.signing_in.trust import Jobs, Rule

TOKEN_PREFIX = "fqj_"
TOKEN_SECONDS = 3600
_KEPT = timedelta(days=1)  # what was begun with an expired one may still be ended


def exchange(
    session: Session, jobs: Jobs, claims: Mapping[str, Any], *, resource: str
) -> tuple[str, int]:
    """Return a token for one resource, and for how many seconds; raises OAuthError."""
    wanted = _reach(resource)
    rule = _rule(jobs, claims, wanted)
    try:
        user = find_user(session, rule.user)
    except NotFoundError:
        raise _refused() from None
    now = datetime.now(UTC)
    old = delete(Token).where(Token.kind == TokenKind.EXCHANGED, Token.expires_at < now - _KEPT)
    session.execute(old)
    secret = new_secret(TOKEN_PREFIX)
    made = Token(
        user_id=user.id,
        name=f"job-{secrets.token_hex(4)}",
        role=Role(rule.role),
        lookup=lookup_of(secret),
        digest=digest_of(secret),
        created_at=now,
        expires_at=now + timedelta(seconds=TOKEN_SECONDS),
        kind=TokenKind.EXCHANGED,
        reach=list(wanted.resources),
    )
    session.add(made)
    identify(name=user.name, token=made.name)
    record(
        *(session, Act.TOKEN_EXCHANGED),
        user=user.name,
        name=made.name,
        role=str(rule.role),
        only=wanted.resources[0],
        issuer=jobs.issuer,
        subject=str(claims["sub"])[:255],
    )
    return secret, TOKEN_SECONDS


def _reach(resource: str) -> Reach:
    try:
        return Reach.of([resource])
    except BadRequestError as error:
        raise OAuthError("invalid_target", str(error)) from error


def _rule(jobs: Jobs, claims: Mapping[str, Any], wanted: Reach) -> Rule:
    for rule in jobs.rules:
        if rule.matches(claims) and wanted.within(Reach.of(rule.resources)):
            return rule
    raise _refused()


def _refused() -> OAuthError:
    return OAuthError(
        "invalid_target",
        "This job may have no token for this resource: an administrator of the hub can allow it "
        "with a rule for its claims.",
    )
