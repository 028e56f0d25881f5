"""Checking what an issuer signed: keys are fetched with care and kept; nothing is guessed."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from jwt.exceptions import PyJWTError

from fin_qlora_hub.errors import HubError, InvalidTokenError
from fin_qlora_hub.outgoing import Outgoing, OutgoingError
from fin_qlora_hub.signing_in.trust import Issuer

MAX_TOKEN = 16 * 1024
MAX_BYTES = 256 * 1024
LEEWAY_SECONDS = 30
MAX_LIFE_SECONDS = 24 * 3600
FRESH_SECONDS = 3600.0
STALE_SECONDS = 24 * 3600.0
# A token that names an unknown key makes the hub ask again, but no more often than this.
PAUSE_SECONDS = 60.0
MIN_RSA_BITS = 2048


class Keys:
    """The keys of one issuer, as it last published them."""

    def __init__(
        self, issuer: Issuer, outgoing: Outgoing, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.issuer = issuer
        self._outgoing = outgoing
        self._now = now
        self._guard = threading.Lock()
        self._known: list[Mapping[str, Any]] = []
        self._read_at: float | None = None
        self._asked_at: float | None = None

    def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """Return the key by which something is signed; raises InvalidTokenError."""
        found = self._find(kid, self._keys(FRESH_SECONDS), algorithm)
        if found is None:
            found = self._find(kid, self._keys(PAUSE_SECONDS), algorithm)
        if found is None:
            raise InvalidTokenError("The issuer has no key of this name for this algorithm.")
        return found

    def discover(self) -> Mapping[str, Any]:
        """Return what the issuer says of itself; every address in it is on an allowed machine."""
        told = self.fetch(self.issuer.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if told.get("issuer") != self.issuer.issuer:
            raise OutgoingError(f"{self.issuer.issuer} says that it is called otherwise.")
        for name in ("jwks_uri", "authorization_endpoint", "token_endpoint"):
            url = told.get(name, self.issuer.issuer)
            if not isinstance(url, str) or not self.issuer.allows_host(url):
                raise OutgoingError(
                    f"{self.issuer.issuer} names {name} on another machine: add that to its "
                    "`hosts` if it is right."
                )
        return told

    def fetch(self, url: str) -> Mapping[str, Any]:
        """Return the JSON object at an address."""
        answer = self._outgoing.send(
            url, headers={"Accept": "application/json"}, max_bytes=MAX_BYTES
        )
        if answer.status != 200:
            raise OutgoingError(f"{url} answered with the status {answer.status}.")
        return as_object(answer.body, url)

    def _keys(self, age: float) -> list[Mapping[str, Any]]:
        with self._guard:
            now = self._now()
            if self._read_at is not None and now - self._read_at < age:
                return self._known
            if self._asked_at is not None and now - self._asked_at < PAUSE_SECONDS:
                return self._usable(now)
            self._asked_at = now
            try:
                self._known, self._read_at = self._read(), now
            except OutgoingError:
                if not self._usable(now):
                    raise
            return self._usable(now)

    def _usable(self, now: float) -> list[Mapping[str, Any]]:
        usable = self._read_at is not None and now - self._read_at < STALE_SECONDS
        return self._known if usable else []

    def _read(self) -> list[Mapping[str, Any]]:
        if self.issuer.jwks_file is not None:
            try:
                body = self.issuer.jwks_file.read_bytes()
            except OSError as error:
                raise OutgoingError(f"{self.issuer.jwks_file}: {error.strerror}.") from error
            told = as_object(body, str(self.issuer.jwks_file))
        else:
            told = self.fetch(self.issuer.jwks_url or str(self.discover().get("jwks_uri")))
        keys = told.get("keys")
        if not isinstance(keys, list):
            raise OutgoingError(f"{self.issuer.issuer} publishes no list of keys.")
        return [key for key in keys if isinstance(key, dict)]

    @staticmethod
    def _find(kid: str | None, keys: list[Mapping[str, Any]], algorithm: str) -> jwt.PyJWK | None:
        fitting = []
        for key in keys:
            if kid is not None and key.get("kid") != kid:
                continue
            if key.get("use", "sig") != "sig" or key.get("alg", algorithm) != algorithm:
                continue
            try:
                made = jwt.PyJWK(dict(key), algorithm=algorithm)
            except (PyJWTError, ValueError, TypeError, KeyError):
                continue
            if getattr(made.key, "key_size", MIN_RSA_BITS) < MIN_RSA_BITS and key["kty"] == "RSA":
                continue
            fitting.append(made)
        # Without a name there must be no choice.
        return fitting[0] if len(fitting) == 1 else None


def issuer_of(token: str) -> str:
    """Return who is said to have signed a token, which nobody has checked yet."""
    if len(token) > MAX_TOKEN:
        raise InvalidTokenError("The identity token is too long.")
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (PyJWTError, ValueError, RecursionError) as error:
        raise InvalidTokenError("The identity token is none.") from error
    return str(claims.get("iss"))


def verify(token: str, keys: Keys, *, audience: str) -> Mapping[str, Any]:
    """Return the claims of a token that its issuer signed for this hub, and not long ago."""
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in keys.issuer.algorithms:
            raise InvalidTokenError("The identity token is signed in a way that is not allowed.")
        key = keys.find(header.get("kid"), algorithm)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=audience,
            issuer=keys.issuer.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "exp", "iat", "sub"]},
        )
    except HubError:
        raise
    except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidTokenError(f"The identity token does not count: {error}.") from error
    if claims["aud"] not in (audience, [audience]):
        raise InvalidTokenError("The identity token is meant for others too.")
    if not all(isinstance(claims[name], int | float) for name in ("exp", "iat")):
        raise InvalidTokenError("The identity token's times are no numbers.")
    if claims["exp"] - claims["iat"] > MAX_LIFE_SECONDS:
        raise InvalidTokenError("The identity token is good for more than a day.")
    return claims


def as_object(body: bytes, place: str) -> Mapping[str, Any]:
    """Read a JSON object; raises OutgoingError."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise OutgoingError(f"{place} holds no JSON.") from error
    if not isinstance(told, dict):
        raise OutgoingError(f"{place} holds no JSON object.")
    return told
