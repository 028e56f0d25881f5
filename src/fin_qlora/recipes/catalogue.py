"""Finding recipes by name."""

from __future__ import annotations

from pathlib import Path

from ..errors import MissingFileError, UnknownNameError
from ..files import shipped

#: Folders of recipes/ that hold no recipes of their own: profiles, and what recipes extend.
_PROFILES, _PARTS = "accelerate", "parts"


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes, such as ``classification/tfns-8b-4bit-r4``."""
    return _names("*", skip=(_PROFILES, _PARTS))


def accelerate_profiles() -> list[str]:
    """Return the names of the shipped accelerate profiles."""
    return [name.split("/", 1)[1] for name in _names(_PROFILES)]


def recipe_path(name: str) -> Path:
    """Return the file of a recipe, given its shipped name or a path.

    Raises:
        MissingFileError: a path was given and there is no such file.
        UnknownNameError: no recipe has that name; the nearest one is offered.
    """
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise MissingFileError(
                f"The recipe file '{name}' does not exist.", fix="Check --config."
            )
        return Path(name)
    return _shipped_file(name, "recipe", recipe_names())


def shared_path(name: str) -> Path:
    """Return the file of a shipped recipe, or of a part that recipes extend, given its name.

    Raises UnknownNameError for another name.
    """
    return _shipped_file(name, "recipe", [*recipe_names(), *_names(_PARTS)])


def accelerate_profile_path(name: str) -> Path:
    """Return the file of an accelerate profile, given its shipped name or a path."""
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return Path(name)
    names = [f"accelerate/{profile}" for profile in accelerate_profiles()]
    return _shipped_file(f"accelerate/{name}", "accelerate profile", names)


def _shipped_file(name: str, kind: str, names: list[str]) -> Path:
    if name not in names:
        raise UnknownNameError(kind, name, names)
    return shipped("recipes") / f"{name}.yaml"


def _names(family: str, *, skip: tuple[str, ...] = ()) -> list[str]:
    root = shipped("recipes")
    files = [file for file in root.glob(f"{family}/*.yaml") if file.parent.name not in skip]
    return sorted(file.relative_to(root).with_suffix("").as_posix() for file in files)
