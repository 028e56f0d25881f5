"""Signing in a program without a browser: its user approves a short code elsewhere (RFC 8628).

A code is good for a quarter of an hour and for one program, which must know the long code too.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Role, digest_of, new_secret
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import BusyError, NotFoundError, OAuthError
from fin_qlora_hub.metadata.tables import DeviceRequest, Namespace, Token
from fin_qlora_hub.signing_in.sign_ins import Issued, begin, issue
from fin_qlora_hub.text import quoted, shortened

CODE_SECONDS = 15 * 60
INTERVAL_SECONDS = 5
MAX_WAITING = 1000
CODE_PREFIX = "fqd_"
CODE_LENGTH = 8
# No vowels and nothing that looks like something else: no code is a word or is misread.
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
_KEPT = timedelta(minutes=15)  # how long a program is told that its code has expired


class Status(StrEnum):
    """What became of a wish."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"


@dataclass(frozen=True)
class Begun:
    """What the program keeps, and what it shows to its user."""

    device_code: str
    user_code: str
    seconds: int


def ask(session: Session, *, client_id: str, address: str, agent: str) -> Begun:
    """Write down a program's wish to act as somebody."""
    now = datetime.now(UTC)
    session.execute(delete(DeviceRequest).where(DeviceRequest.expires_at <= now - _KEPT))
    waiting = select(func.count()).where(DeviceRequest.expires_at > now)
    if (session.scalar(waiting) or 0) >= MAX_WAITING:
        raise BusyError("Too many programs wait to be signed in: try again in some minutes.")
    device_code = new_secret(CODE_PREFIX)
    user_code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
    session.add(
        DeviceRequest(
            digest=digest_of(device_code),
            user_code=user_code,
            client_id=client_id,
            address=shortened(address, limit=60),
            agent=shortened(_plain(agent), limit=100),
            status=Status.PENDING,
            created_at=now,
            expires_at=now + timedelta(seconds=CODE_SECONDS),
        )
    )
    return Begun(device_code, shown(user_code), CODE_SECONDS)


def _plain(text: str) -> str:
    """Return what a stranger says of themselves without what would steer a terminal."""
    return "".join(letter for letter in text if letter.isprintable())


def require_answer(session: Session, device_code: str, *, client_id: str) -> DeviceRequest:
    """Return a wish that has been approved; raises OAuthError for any other."""
    found = session.scalar(select(DeviceRequest).filter_by(digest=digest_of(device_code)))
    if found is None or found.client_id != client_id:
        raise OAuthError("invalid_grant", "The device code is unknown, or was used already.")
    if found.expires_at <= datetime.now(UTC):
        raise OAuthError("expired_token", "The code has expired: begin again.")
    if found.status == Status.PENDING:
        raise OAuthError("authorization_pending", "Nobody has approved the code yet.")
    if found.status == Status.DENIED:
        raise OAuthError("access_denied", "The code was denied.")
    return found


def redeem(session: Session, device_code: str, *, client_id: str, hours: int) -> Issued:
    """Give a program its tokens, this once."""
    found = require_answer(session, device_code, client_id=client_id)
    sign_in = session.get_one(Token, found.token_id)
    session.delete(found)
    return issue(session, sign_in, hours=hours)


def find(session: Session, user_code: str) -> DeviceRequest:
    """Return a wish that waits for an answer, by its short code in any spelling."""
    found = session.scalar(
        select(DeviceRequest).filter_by(user_code=plain(user_code), status=Status.PENDING)
    )
    if found is None or found.expires_at <= datetime.now(UTC):
        raise NotFoundError(
            f"No program waits with the code {quoted(user_code)}: look at it again, or begin "
            "again if more than a quarter of an hour has passed."
        )
    return found


def approve(
    session: Session,
    found: DeviceRequest,
    user_id: int,
    *,
    role: Role,
    days: int,
    approved_by: Token | None,
) -> Token:
    """Let a program act as a user."""
    sign_in = begin(
        session,
        user_id,
        role=role,
        client_id=found.client_id,
        days=days,
        approved_by=approved_by,
    )
    found.status, found.token_id = Status.APPROVED, sign_in.id
    record(
        *(session, Act.SIGN_IN_APPROVED),
        user=session.get_one(Namespace, user_id).name,
        name=sign_in.name,
        role=str(sign_in.role),
        client=found.client_id,
        asked_from=found.address,
    )
    return sign_in


def deny(session: Session, found: DeviceRequest) -> None:
    """Refuse a program's wish."""
    found.status = Status.DENIED
    record(session, Act.SIGN_IN_DENIED, client=found.client_id, asked_from=found.address)


def list_waiting(session: Session) -> list[DeviceRequest]:
    """Return the wishes that wait for an answer, oldest first."""
    query = (
        select(DeviceRequest)
        .where(DeviceRequest.status == Status.PENDING)
        .where(DeviceRequest.expires_at > datetime.now(UTC))
        .order_by(DeviceRequest.id)
    )
    return list(session.scalars(query))


def shown(user_code: str) -> str:
    """Return a short code as people read it."""
    return f"{user_code[:4]}-{user_code[4:]}"


def plain(user_code: str) -> str:
    """Return a short code as it is kept, whatever stands between its letters."""
    return "".join(letter for letter in user_code.upper() if letter in ALPHABET)[: CODE_LENGTH + 1]
