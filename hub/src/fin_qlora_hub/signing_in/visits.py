"""Who sits at a browser: for some minutes, by a sealed note that the browser keeps.

The note names the token by which somebody signed in, so it ends with that token.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from fin_qlora_hub.access.signing import Signer
from fin_qlora_hub.errors import ForbiddenError, InvalidTokenError
from fin_qlora_hub.metadata.tables import Namespace, Token

SECONDS = 10 * 60
FORM_SECONDS = 30 * 60
_VISIT, _FORM = "browser-visit", "browser-form"


@dataclass(frozen=True)
class Visit:
    """A user at a browser, and the token that they showed; none where they signed on elsewhere."""

    user_id: int
    token_id: int
    browser: str

    def seal(self, signer: Signer) -> str:
        """Return the note for the browser."""
        return signer.seal(_VISIT, asdict(self), seconds=SECONDS)[0]

    @classmethod
    def open(cls, signer: Signer, note: str, *, browser: str) -> "Visit | None":
        """Read a note; None for any that does not count in this browser."""
        try:
            claims = signer.open(_VISIT, note)
        except (InvalidTokenError, ForbiddenError):
            return None
        visit = cls(claims["user_id"], claims["token_id"], claims["browser"])
        return visit if visit.browser == browser else None


@dataclass(frozen=True)
class Visitor:
    """What a visit means at the moment."""

    user: Namespace
    token: Token | None


def visitor(session: Session, visit: Visit) -> Visitor | None:
    """Return who it is, unless they or their token have gone."""
    user = session.get(Namespace, visit.user_id)
    if user is None or not visit.token_id:
        return None if user is None else Visitor(user, None)
    token = session.get(Token, visit.token_id)
    if token is None or (token.expires_at is not None and token.expires_at <= datetime.now(UTC)):
        return None
    return Visitor(user, token)


def seal_form(signer: Signer, *, browser: str, user_id: int = 0) -> str:
    """Return what proves that a form was shown by this hub, in this browser, to this user."""
    return signer.seal(_FORM, {"browser": browser, "user": user_id}, seconds=FORM_SECONDS)[0]


def is_own_form(signer: Signer, sealed: str, *, browser: str, user_id: int = 0) -> bool:
    """Say whether a form came from a page of this hub."""
    try:
        claims = signer.open(_FORM, sealed)
    except (InvalidTokenError, ForbiddenError):
        return False
    return claims["browser"] == browser and bool(browser) and claims["user"] == user_id
