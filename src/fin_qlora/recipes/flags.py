"""Flags and the YAML recipe behind them, as dataclasses, without typos."""

from __future__ import annotations

import os
import sys
import types
import typing
from collections.abc import Sequence
from dataclasses import Field, fields
from typing import Any, NoReturn

from trl import TrlParser

from ..errors import UsageError, nearest
from .settings import read_settings

#: What a setting of one plain type takes, in words.
_PLAIN = {str: "text", int: "a whole number", float: "a number"}


class _Parser(TrlParser):
    """TrlParser that neither guesses at abbreviations nor prints 400 lines of usage on a typo."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", fix="See --help.")


def parse_flags(
    kinds: Sequence[type], arguments: list[str] | None = None
) -> tuple[tuple[Any, ...], str]:
    """Return one object of each dataclass, and the recipe that ``--config`` names ("" for none).

    Flags win over the recipe, a recipe over the defaults.

    Args:
        arguments: those of the command line; the process's own where left out.

    Raises:
        UsageError: an unknown key or flag (the nearest right one is named), or a value of the
            wrong type.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    given = [part for item in given for part in _split_config(item)]
    parser = _Parser(tuple(kinds), allow_abbrev=False)
    known = {action.dest for action in parser._actions} - {"help"}
    _check_flags(given, known)
    given, recipe = _without_config(given)
    if recipe:
        settings = read_settings(recipe)
        _check_settings(settings, known, place=recipe, kinds=kinds)
        os.environ.update({key: str(value) for key, value in settings.pop("env", {}).items()})
        parser.set_defaults_with_config(**_without_tasks(settings, given))
    try:
        *parsed, stray = parser.parse_args_into_dataclasses(given, return_remaining_strings=True)
    except (ValueError, TypeError) as error:
        raise UsageError(f"The settings do not fit: {str(error).splitlines()[0]}") from error
    if stray:
        raise UsageError(f"'{stray[0]}' belongs to no flag.", fix="Write --FLAG VALUE.")
    return tuple(parsed), recipe


def _without_config(given: list[str]) -> tuple[list[str], str]:
    """Return the flags without ``--config RECIPE``, and the recipe; empty where none is named."""
    if "--config" not in given:
        return given, ""
    if given.count("--config") > 1:
        raise UsageError("--config is given twice.", fix="A recipe extends another by `extends:`.")
    at = given.index("--config")
    if at + 1 == len(given):
        raise UsageError("--config needs a recipe.", fix="See `fin-qlora recipes ls`.")
    return given[:at] + given[at + 2 :], given[at + 1]


def _without_tasks(settings: dict[str, Any], given: list[str]) -> dict[str, Any]:
    """Return what of a recipe holds beside the flags: ``--task`` takes its ``tasks`` back."""
    flags = {item.split("=", 1)[0] for item in given}
    if flags.isdisjoint(("--task", "--tasks")):
        return settings
    return {key: value for key, value in settings.items() if key not in ("task", "tasks")}


def _split_config(item: str) -> list[str]:
    return ["--config", item.removeprefix("--config=")] if item.startswith("--config=") else [item]


def _check_flags(given: list[str], known: set[str]) -> None:
    for item in given:
        if not item.startswith("-") or _is_number(item):
            continue
        name = item.split("=", 1)[0]
        flag = name.lstrip("-").replace("-", "_")
        right = flag in known | {"config", "help"} or _is_negated(flag, known)
        if item == "-h" or (right and name.startswith("--")):
            continue
        shown = "--" + flag if name.startswith("--") else name
        raise UsageError(f"There is no flag '{shown}'.", fix=_did_you_mean(flag, known, "--"))


def _is_number(item: str) -> bool:
    try:
        float(item)
    except ValueError:
        return False
    return True


def _is_negated(flag: str, known: set[str]) -> bool:
    return flag.startswith("no_") and flag.removeprefix("no_") in known


def _check_settings(
    settings: dict[str, Any], known: set[str], *, place: str, kinds: Sequence[type]
) -> None:
    declared = _declared(kinds)
    for key, value in settings.items():
        if key == "env":
            if not isinstance(value, dict):
                raise UsageError(f"'{place}' sets 'env' to no mapping.", fix="Write NAME: value.")
            continue
        if key not in known:
            raise UsageError(
                f"'{place}' sets '{key}', which does not exist.", fix=_did_you_mean(key, known, "")
            )
        one, hint = declared.get(key, (None, bool))
        takes_bool = bool in (hint, *_parts(hint)) or key == "resume_from_checkpoint"
        if isinstance(value, bool) and not takes_bool:
            raise UsageError(
                f"'{place}' sets '{key}' to {str(value).lower()}, but it takes no yes or no.",
                fix=f'YAML reads a bare no, off or yes as that; quote it: {key}: "no".',
            )
        optional = one is None or one.default is None or type(None) in _parts(hint)
        if not takes_bool and (wanted := _wanted(value, hint, optional=optional)):
            raise UsageError(
                f"'{place}' sets '{key}' to {value!r}, but it takes {wanted}.",
                fix="Put it in quotes." if wanted == "text" and not isinstance(value, list) else "",
            )


def _declared(kinds: Sequence[type]) -> dict[str, tuple[Field[Any], Any]]:
    """Return the field of each setting, and the type that it takes."""
    hints = [(kind, typing.get_type_hints(kind)) for kind in kinds]
    return {one.name: (one, hint[one.name]) for kind, hint in hints for one in fields(kind)}


def _parts(hint: Any) -> tuple[Any, ...]:
    """Return the types of which a value may have any one."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _wanted(value: Any, hint: Any, *, optional: bool) -> str | None:
    """Return what a setting takes where that is not ``value``.

    argparse holds flags to their types and choices, but of a recipe it only converts text.
    """
    several = [part for part in _parts(hint) if part is not type(None)]
    choices = [one for part in several for one in typing.get_args(part)]
    if value is None and optional:
        return None
    if all(typing.get_origin(part) is typing.Literal for part in several):
        return None if value in choices else f"one of {', '.join(map(str, choices))}"
    if len(several) > 1 or several[0] not in _PLAIN or isinstance(value, str | several[0]):
        return None
    whole = several[0] is float and isinstance(value, int)
    return None if whole else _PLAIN[several[0]]


def _did_you_mean(name: str, known: set[str], prefix: str) -> str:
    close = nearest(name, known)
    return f"Did you mean '{prefix}{close}'?" if close else "See --help for all of them."
