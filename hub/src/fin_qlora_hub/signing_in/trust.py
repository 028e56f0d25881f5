"""Whom the hub believes about who somebody is: a file that the administrator writes (TOML)."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fin_qlora_hub.access.identity import Role
from fin_qlora_hub.access.reach import Reach
from fin_qlora_hub.errors import BadRequestError, UnusableDataError

# None by which whoever can check a signature could also make one.
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
_STARS_ALONE = re.compile(r"[*:/]*")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Issuer(_Part):
    """A server whose signature counts; its keys are in a file, at an address, or where it says."""

    issuer: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$", max_length=255)]
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256",)
    jwks_file: Path | None = None
    jwks_url: str | None = None
    hosts: tuple[str, ...] = ()

    def allows_host(self, url: str) -> bool:
        """Say whether an address that the issuer names is on a machine that may be asked."""
        own = urlsplit(self.issuer).hostname
        return urlsplit(url).hostname in {own, *self.hosts}


class Rule(_Part):
    """Which jobs may have a token, whose it is, and what for.

    Every claim must be as written, where `*` is anything but `/` and `:`.
    """

    claims: Annotated[Mapping[str, Text], Field(min_length=1)]
    user: Text
    role: Literal["read", "write"] = "read"
    resources: Annotated[tuple[str, ...], Field(min_length=1)]

    @field_validator("claims")
    @classmethod
    def _says_something(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        if all(_STARS_ALONE.fullmatch(pattern) for pattern in value.values()):
            raise ValueError("at least one claim must be more than stars")
        return value

    @field_validator("resources")
    @classmethod
    def _can_be_reached(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return Reach.of(value).resources
        except BadRequestError as error:
            raise ValueError(str(error)) from error

    def matches(self, claims: Mapping[str, Any]) -> bool:
        """Say whether a job is meant."""
        return all(_is_like(claims.get(name), pattern) for name, pattern in self.claims.items())


class Jobs(Issuer):
    """An issuer of identities of jobs, such as a CI server."""

    audience: Text | None = None
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]


class SignOn(Issuer):
    """The institution's OpenID provider, where people sign on.

    `groups` says which role a group of the provider has in which organizations; those are then
    kept as it says.
    """

    client_id: Text
    client_secret_file: Path | None = None
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    user_claim: Text = "preferred_username"
    create_users: bool = False
    groups_claim: Text = "groups"
    groups: Mapping[str, Mapping[str, Role]] = {}


class Trust(_Part):
    """All whom the hub believes."""

    sign_on: SignOn | None = None
    jobs: tuple[Jobs, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({one.issuer for one in self.jobs}) < len(self.jobs):
            raise ValueError("an issuer of jobs stands there twice: put its rules together")
        return self


def read_trust(path: Path | None) -> Trust:
    """Read the file; without one nobody is believed. Raises UnusableDataError."""
    if path is None:
        return Trust()
    try:
        return Trust.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise UnusableDataError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnusableDataError(f"{path} is not TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UnusableDataError(f"{path}: {place}: {first['msg']}.") from error


def _is_like(value: object, pattern: str) -> bool:
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str):
        return False
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.fullmatch("[^/:]*".join(parts), value) is not None
