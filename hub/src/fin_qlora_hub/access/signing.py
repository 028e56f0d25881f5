"""Claims that the hub hands out and later believes, because nobody else can have signed them."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fin_qlora_hub.errors import ForbiddenError, InvalidTokenError

# Clients compare a token's end with their own clock.
CLOCK_SECONDS = 120
MAX_LENGTH = 4096


@dataclass(frozen=True)
class Keys:
    """The key that signs, and the one before it while what it signed still counts.

    `former_ends` is in seconds since 1970.
    """

    present: bytes
    former: bytes | None = None
    former_ends: float = 0.0


class Signer:
    """Signs with a secret key; `purpose` keeps what is signed for one use from another."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def seal(self, purpose: str, claims: Mapping[str, Any], *, seconds: int) -> tuple[str, int]:
        """Return text that carries claims for a while, and when it ends (seconds since 1970)."""
        end = int(time.time()) + seconds
        payload = json.dumps({**claims, "exp": end}, separators=(",", ":")).encode()
        text = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
        return f"{text}.{_mac(self.keys.present, purpose, text)}", end

    def open(self, purpose: str, sealed: str) -> dict[str, Any]:
        """Return the claims of a text; raises InvalidTokenError, ForbiddenError once it ended."""
        text, _, mac = sealed.partition(".")
        if len(sealed) > MAX_LENGTH or not self._is_ours(purpose, text, mac):
            raise InvalidTokenError("The token or signature is not one that this hub gave out.")
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if time.time() > claims["exp"] + CLOCK_SECONDS:
            raise ForbiddenError("The token or signature has expired: ask for another.")
        return claims

    def _is_ours(self, purpose: str, text: str, mac: str) -> bool:
        keys, sent = self.keys, mac.encode("utf-8", "replace")
        if hmac.compare_digest(sent, _mac(keys.present, purpose, text).encode()):
            return True
        if keys.former is None or time.time() > keys.former_ends:
            return False
        return hmac.compare_digest(sent, _mac(keys.former, purpose, text).encode())


def _mac(key: bytes, purpose: str, text: str) -> str:
    message = f"{purpose}\0{text}".encode("utf-8", "replace")
    digest = hmac.new(key, message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def new_key() -> str:
    """Return a fresh key, as text that a database can keep."""
    return secrets.token_hex(32)
