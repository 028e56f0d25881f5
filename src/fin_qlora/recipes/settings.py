"""What a recipe file says, together with the recipes that it extends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..errors import MissingFileError, UsageError
from .catalogue import recipe_path, shared_path

#: Recipes that may stand behind one another.
DEPTH = 8

#: Settings that say the same thing in two ways: whoever gives one takes the other back.
ALTERNATIVES = (("task", "tasks"), ("load_in_4bit", "load_in_8bit"))


def read_settings(recipe: str | Path) -> dict[str, Any]:
    """Return the settings of a recipe; what it ``extends`` gives those that it does not name.

    Args:
        recipe: a shipped name, or the path of a YAML file. A path in ``extends`` counts from the
            folder of the file that names it.

    Raises:
        MissingFileError, UnknownNameError: there is no such recipe; the nearest name is offered.
        UsageError: a file is no YAML mapping, or recipes extend one another in a circle.
    """
    return _merged(recipe_path(str(recipe)), behind=())


def _merged(path: Path, *, behind: tuple[Path, ...]) -> dict[str, Any]:
    place = path.resolve()
    if place in behind:
        names = " -> ".join(f"'{one.name}'" for one in (*behind, place))
        raise UsageError(f"Recipes extend one another in a circle: {names}.", fix="Break it.")
    if len(behind) >= DEPTH:
        raise UsageError(
            f"'{path}' stands behind {len(behind)} other recipes.",
            fix=f"At most {DEPTH} may stand behind one another; put some together.",
        )
    settings = _read(path)
    name = settings.pop("extends", None)
    if name is None:
        return settings
    if not isinstance(name, str):
        raise UsageError(f"'{path}' extends {name!r}.", fix="Name one recipe.")
    found = dict(_merged(_extended(name, path), behind=(*behind, place)))
    for pair in ALTERNATIVES:
        given = [one for one in pair if settings.get(one)]
        if len(given) == 1:
            found = {key: value for key, value in found.items() if key not in pair}
    return {**found, **settings}


def _extended(name: str, source: Path) -> Path:
    if name.endswith((".yaml", ".yml")):
        path = source.parent / name
        if not path.is_file():
            raise MissingFileError(
                f"'{source}' extends '{name}', which does not exist.",
                fix=f"Looked for '{path}'.",
            )
        return path
    return shared_path(name)


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        first = str(error).splitlines()
        raise UsageError(f"'{path}' is not valid YAML: {'; '.join(first[:3])}") from error
    if not isinstance(settings, dict):
        raise UsageError(f"'{path}' holds no settings.", fix="Write `key: value` lines.")
    return settings
