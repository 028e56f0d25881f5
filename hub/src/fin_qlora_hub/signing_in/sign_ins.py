"""Sign-ins: a program acts as a user by tokens that it renews itself, until the sign-in ends.

A refresh token is exchanged once. A client that lost the answer may exchange it again for a short
while; whoever does so later has stolen it or lost it to a thief, and the whole sign-in ends. Of
several that were given for the same one, the first to come back uses up the others.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import (
    SIGN_IN_PREFIX,
    Role,
    TokenKind,
    digest_of,
    end_tokens,
    lookup_of,
    new_secret,
)
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import OAuthError
from fin_qlora_hub.metadata.tables import IssuedSecret, Namespace, Token

REFRESH_PREFIX = "fqr_"
# Clients that could not renew their token ask again after five minutes.
REUSE = timedelta(minutes=15)
MAX_SECRETS = 200


@dataclass(frozen=True)
class Issued:
    """An access token for some seconds, and with what to get the next one."""

    access_token: str
    refresh_token: str
    seconds: int


def begin(
    session: Session,
    user_id: int,
    *,
    role: Role,
    client_id: str,
    days: int,
    approved_by: Token | None,
) -> Token:
    """Begin a sign-in, which reaches no further and lasts no longer than what approved it."""
    now = datetime.now(UTC)
    end = now + timedelta(days=days)
    reach = None
    if approved_by is not None:
        reach = approved_by.reach
        end = min(end, approved_by.expires_at or end)
        role = role if Role(approved_by.role).writes else Role.READ
    made = Token(
        user_id=user_id,
        name=f"sign-in-{secrets.token_hex(4)}",
        role=Role.WRITE if role.writes else Role.READ,
        lookup="",  # its secrets are rows of their own
        digest="",
        created_at=now,
        expires_at=end,
        kind=TokenKind.SIGN_IN,
        reach=reach,
        client_id=client_id,
        approved_by=None if approved_by is None else approved_by.id,
    )
    session.add(made)
    session.flush()
    return made


def issue(session: Session, sign_in: Token, *, hours: int) -> Issued:
    """Give out the next access token of a sign-in, with a refresh token."""
    now = datetime.now(UTC)
    end = sign_in.expires_at
    if end is None or end <= now:
        raise _ended()
    _forget_old(session, sign_in, now)
    access, renewal = new_secret(SIGN_IN_PREFIX), new_secret(REFRESH_PREFIX)
    until = min(end, now + timedelta(hours=hours))
    for secret, last in ((access, until), (renewal, end)):
        session.add(
            IssuedSecret(
                token_id=sign_in.id,
                lookup=lookup_of(secret),
                digest=digest_of(secret),
                created_at=now,
                expires_at=last,
            )
        )
    return Issued(access, renewal, int((until - now).total_seconds()))


def renew(session: Session, secret: str, *, client_id: str, hours: int) -> Issued | None:
    """Exchange a refresh token; None where it was exchanged long ago, which ends the sign-in."""
    now = datetime.now(UTC)
    found = _find(session, secret) if secret.startswith(REFRESH_PREFIX) else None
    if found is None or found.expires_at <= now:
        raise _ended()
    sign_in = session.get_one(Token, found.token_id)
    if sign_in.client_id != client_id:
        raise _ended()
    if found.used_at is not None and now - found.used_at > REUSE:
        user = session.get_one(Namespace, sign_in.user_id).name
        record(
            *(session, Act.SIGN_IN_ENDED),
            user=user,
            name=sign_in.name,
            reason="a refresh token came back",
        )
        end_tokens(session, {sign_in.id})
        return None
    if found.used_at is None:
        unused = update(IssuedSecret).where(
            IssuedSecret.token_id == sign_in.id,
            IssuedSecret.lookup.startswith(REFRESH_PREFIX, autoescape=True),
            IssuedSecret.used_at.is_(None),
        )
        session.execute(unused.values(used_at=now))
    return issue(session, sign_in, hours=hours)


def _find(session: Session, secret: str) -> IssuedSecret | None:
    digest = digest_of(secret)
    rows = session.scalars(select(IssuedSecret).filter_by(lookup=lookup_of(secret)))
    return next((row for row in rows if hmac.compare_digest(row.digest, digest)), None)


def _forget_old(session: Session, sign_in: Token, now: datetime) -> None:
    ended = delete(IssuedSecret).where(
        IssuedSecret.token_id == sign_in.id, IssuedSecret.expires_at <= now
    )
    session.execute(ended)
    newest = (
        select(IssuedSecret.id)
        .filter_by(token_id=sign_in.id)
        .order_by(IssuedSecret.id.desc())
        .offset(MAX_SECRETS)
        .limit(1)
    )
    last = session.scalar(newest)
    if last is not None:
        session.execute(
            delete(IssuedSecret).where(IssuedSecret.token_id == sign_in.id, IssuedSecret.id <= last)
        )


def _ended() -> OAuthError:
    return OAuthError("invalid_grant", "The sign-in has ended: run `hf auth login` again.")
