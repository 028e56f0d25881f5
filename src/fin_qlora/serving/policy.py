"""Which adapters a server takes: set by its operator, before any client asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from ..errors import UnknownNameError, UsageError

#: What the names of all settings in the environment begin with.
PREFIX = "FIN_QLORA_SERVE_"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_REFERENCE = re.compile(
    rf"(?P<name>{_WORD}/{_WORD})(?:@(?P<revision>[A-Za-z0-9][\w./-]{{0,199}}))?", re.ASCII
)
_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")


@dataclass(frozen=True)
class AdapterReference:
    """An adapter as a client names it: ``ORG/NAME``, or ``ORG/NAME@REVISION``."""

    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a client wrote. Raises UsageError unless it is of one of the two forms."""
        found = _REFERENCE.fullmatch(text)
        if found is None or ".." in text or (found["revision"] or "").startswith("refs/"):
            raise UsageError(
                f"{text[:120]!r} is not an adapter.",
                fix="Name it as ORG/NAME or ORG/NAME@REVISION: a branch, a tag or a commit.",
            )
        return cls(found["name"], found["revision"])

    @property
    def pinned(self) -> bool:
        """Say whether the revision is a commit, which never comes to mean something else."""
        return self.revision is not None and is_commit(self.revision)

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


@dataclass(frozen=True, kw_only=True)
class ServingPolicy:
    """What a server takes. Each field is a setting ``FIN_QLORA_SERVE_…`` of the environment.

    Args:
        namespaces: organizations (``org``) and single repositories (``org/name``) that may be
            served; nothing else is ever asked for.
        base_revision: the commit of the served base, where that is an id of the hub.
        max_rank: the largest rank that is taken; the engine's own limit.
        max_megabytes: how large the files of an adapter may be, all together.
        require_commit: take only adapters that are named with a commit.
    """

    namespaces: tuple[str, ...]
    base_revision: str | None = None
    max_rank: int = 16
    max_megabytes: int = 2048
    require_commit: bool = False

    def __post_init__(self) -> None:
        for namespace in self.namespaces:
            if not re.fullmatch(rf"{_WORD}(/{_WORD})?", namespace):
                raise UsageError(
                    f"{PREFIX}NAMESPACES has '{namespace}'.",
                    fix="Name organizations (org) or repositories (org/name), between commas.",
                )
        if self.base_revision is not None and not is_commit(self.base_revision):
            raise UsageError(
                f"{PREFIX}BASE_REVISION is '{self.base_revision}', which is no commit.",
                fix="Give the 40 hexadecimal digits that the engine's --revision has.",
            )
        for name in ("max_rank", "max_megabytes"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"{PREFIX}{name.upper()} is {getattr(self, name)}.", fix="Use 1 or more."
                )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self | None:
        """Return the policy that the environment sets, or None where it names no namespace.

        Raises:
            UnknownNameError: a setting has a name that there is not.
            UsageError: a setting has a value that it cannot have, or stands without namespaces.
        """
        given = {
            name.removeprefix(PREFIX): value.strip()
            for name, value in environment.items()
            if name.startswith(PREFIX)
        }
        known = {field.name.upper() for field in fields(cls)}
        for name in given:
            if name not in known:
                raise UnknownNameError("setting", PREFIX + name, {PREFIX + each for each in known})
        namespaces = tuple(filter(None, map(str.strip, given.get("NAMESPACES", "").split(","))))
        if not namespaces:
            if any(given.values()):
                raise UsageError(
                    f"{PREFIX}NAMESPACES is not set, so no adapter may be served.",
                    fix="Name the organizations whose adapters may be.",
                )
            return None
        return cls(
            namespaces=namespaces,
            base_revision=given.get("BASE_REVISION") or None,
            max_rank=_number(given, "MAX_RANK", default=cls.max_rank),
            max_megabytes=_number(given, "MAX_MEGABYTES", default=cls.max_megabytes),
            require_commit=_switch(given.get("REQUIRE_COMMIT", "")),
        )

    def check_reference(self, reference: AdapterReference) -> None:
        """Refuse, before the hub is asked, what may not be served.

        Raises UsageError when the adapter is in no allowed namespace, or must be named with a
        commit and is not.
        """
        organization = reference.name.partition("/")[0]
        if not {organization, reference.name} & set(self.namespaces):
            raise UsageError(
                f"'{reference.name}' is in no namespace that is served here.",
                fix=f"The operator may add it to {PREFIX}NAMESPACES.",
            )
        if self.require_commit and not reference.pinned:
            raise UsageError(
                f"'{reference}' names no commit, and only commits are served here.",
                fix=f"Ask for {reference.name}@ and the 40 hexadecimal digits of a commit.",
            )


def is_commit(text: str) -> bool:
    """Say whether a text is the whole hash of a commit."""
    return bool(_COMMIT.fullmatch(text))


def _number(given: Mapping[str, str], name: str, *, default: int) -> int:
    text = given.get(name) or str(default)
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{PREFIX}{name} is '{text}', which is no number.") from None


def _switch(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise UsageError(f"{PREFIX}REQUIRE_COMMIT is '{text}'.", fix="Use 1 or 0.")
    return text.lower() in _TRUE
