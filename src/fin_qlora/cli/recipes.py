"""``fin-qlora recipes``: the settings that ship with the package."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import typer
import yaml

from ..errors import UsageError
from ..files import write_text
from ..recipes.catalogue import (
    accelerate_profile_path,
    accelerate_profiles,
    recipe_names,
    recipe_path,
    shared_path,
)
from ..recipes.settings import read_settings
from .output import HUMAN, OutputOption, table

_PROFILES = "accelerate/"

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A name that `recipes ls` shows, or that one extends.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.command("ls")(ls)
    group.command("show")(show)
    group.command("copy")(copy)
    app.add_typer(group, name="recipes", help="List, show and copy the recipes that ship with us.")


def ls(output: OutputOption = HUMAN) -> None:
    """List the recipes, and the accelerate profiles that `train --accelerate` takes."""
    recipes = [{"name": name, "about": _about(recipe_path(name))} for name in recipe_names()]
    profiles = [
        {"name": _PROFILES + name, "about": _about(accelerate_profile_path(name))}
        for name in accelerate_profiles()
    ]
    found = [*recipes, *profiles]
    output.result(
        {"recipes": recipes, "accelerate": profiles},
        human=table(("NAME", "WHAT IT IS"), [(each["name"], each["about"]) for each in found]),
        quiet="\n".join(each["name"] for each in found),
    )


def show(name: Name, output: OutputOption = HUMAN) -> None:
    """Print a recipe's settings, with those of the recipes that it extends."""
    path = _path(name)
    text = _text(name, path).rstrip("\n")
    output.result({"name": name, "path": str(path), "text": text}, human=text, quiet=text)


def copy(
    name: Name,
    target: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to; here if left out.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    output: OutputOption = HUMAN,
) -> None:
    """Copy a recipe with all its settings, to be changed and given to `fin-qlora train`."""
    source = _path(name)
    place = target or Path(source.name)
    place = place / source.name if place.is_dir() else place
    if place.exists() and not force:
        raise UsageError(f"'{place}' exists.", fix="Give another name, or pass --force.")
    write_text(place, _text(name, source))
    output.result({"path": str(place)}, human=f"Wrote {place}", quiet=str(place))


def _path(name: str) -> Path:
    if name.startswith(_PROFILES):
        return accelerate_profile_path(name.removeprefix(_PROFILES))
    return recipe_path(name) if name.endswith((".yaml", ".yml")) else shared_path(name)


def _text(name: str, path: Path) -> str:
    """Return a file as it is, or where it extends another one its head and all settings."""
    text = path.read_text(encoding="utf-8")
    if name.startswith(_PROFILES) or "extends" not in yaml.safe_load(text):
        return text
    head = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True))
    settings = yaml.safe_dump(read_settings(path), sort_keys=False, default_flow_style=None)
    return "".join(head) + settings


def _about(path: Path) -> str:
    """Return the first comment line of a recipe, which says what it is."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""
