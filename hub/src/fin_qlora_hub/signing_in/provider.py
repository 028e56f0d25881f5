"""Signing on at the institution's own OpenID provider: by a code, with PKCE, state and nonce."""

import base64
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode

from fin_qlora_hub.errors import InvalidTokenError, UnusableDataError
from fin_qlora_hub.outgoing import Outgoing, OutgoingError
from fin_qlora_hub.signing_in.issuers import FRESH_SECONDS, MAX_BYTES, Keys, as_object, verify
from fin_qlora_hub.signing_in.trust import SignOn


@dataclass(frozen=True)
class Begun:
    """Where to send a browser, and what it must come back with."""

    url: str
    state: str
    nonce: str
    verifier: str


class Provider:
    """The provider at which people sign on; raises UnusableDataError for a missing secret."""

    def __init__(self, sign_on: SignOn, outgoing: Outgoing) -> None:
        self.sign_on = sign_on
        self._keys = Keys(sign_on, outgoing)
        self._outgoing = outgoing
        self._secret = _read(sign_on)
        self._guard = threading.Lock()
        self._told: tuple[float, Mapping[str, Any]] | None = None

    def begin(self, *, redirect_uri: str) -> Begun:
        """Return the address at which somebody signs on; raises OutgoingError."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = hashlib.sha256(verifier.encode()).digest()
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self.sign_on.client_id,
                "redirect_uri": redirect_uri,
                "scope": " ".join(self.sign_on.scopes),
                "state": state,
                "nonce": nonce,
                "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
                "code_challenge_method": "S256",
            }
        )
        page = self._endpoint("authorization_endpoint")
        return Begun(f"{page}{'&' if '?' in page else '?'}{query}", state, nonce, verifier)

    def finish(
        self, code: str, *, redirect_uri: str, verifier: str, nonce: str
    ) -> Mapping[str, Any]:
        """Return what the provider says of whom it sent back.

        Raises InvalidTokenError or OutgoingError.
        """
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": self.sign_on.client_id,
        }
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        if self._secret is not None:
            pair = f"{quote_plus(self.sign_on.client_id)}:{quote_plus(self._secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        url = self._endpoint("token_endpoint")
        answer = self._outgoing.send(
            url, method="POST", body=urlencode(fields).encode(), headers=headers,
            max_bytes=MAX_BYTES,
        )  # fmt: skip
        if answer.status != 200:
            raise InvalidTokenError("The provider did not accept the code with which it sent you.")
        token = as_object(answer.body, url).get("id_token")
        if not isinstance(token, str):
            raise OutgoingError(f"{url} gave no identity token.")
        claims = verify(token, self._keys, audience=self.sign_on.client_id)
        shown = claims.get("nonce")
        if not isinstance(shown, str) or not hmac.compare_digest(shown.encode(), nonce.encode()):
            raise InvalidTokenError("The identity token was made for another sign-on.")
        return claims

    def _endpoint(self, name: str) -> str:
        with self._guard:
            now = time.monotonic()
            if self._told is None or now - self._told[0] > FRESH_SECONDS:
                self._told = now, self._keys.discover()
            url = self._told[1].get(name)
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise OutgoingError(f"{self.sign_on.issuer} names no {name}.")
        return url


def _read(sign_on: SignOn) -> str | None:
    path = sign_on.client_secret_file
    if path is None:
        return None
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableDataError(f"{path}, the client's secret, cannot be read.") from error
