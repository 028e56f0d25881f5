"""The command of a run as its evidence tells it: no folder of the machine, no secret."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from ..files import shipped

_SECRET = frozenset("token secret password passwd credential credentials key apikey".split())
#: Settings of the tokenizer, which are named like secrets and are none.
_HARMLESS = frozenset({"eos_token", "pad_token"})


def published_command(words: Sequence[str], *, known: Collection[str] = ()) -> list[str]:
    """Return the words of a command without what must not be published.

    A flag that is named like a secret is left out with its value. Of every value that is a path or
    an address only the last part is kept, except the names of shipped recipes.

    Args:
        known: values that are kept whole, such as the base's id on the hub.
    """
    return list(_published(words, known))


def _published(words: Sequence[str], known: Collection[str]) -> Iterator[str]:
    secret = False
    for word in words:
        if not word.startswith("--"):
            if not secret:
                yield _value(word, known)
            continue
        name, equals, value = word.partition("=")
        plain = name[2:].replace("-", "_")
        secret = not _SECRET.isdisjoint(plain.lower().split("_")) and plain not in _HARMLESS
        if not secret:
            yield name + equals + _value(value, known)


def _value(value: str, known: Collection[str]) -> str:
    if value in known or _is_recipe(value):
        return value
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1]


def _is_recipe(value: str) -> bool:
    shaped = re.fullmatch(r"[\w-]+/[\w.-]+", value)
    return bool(shaped) and (shipped("recipes") / f"{value}.yaml").is_file()
