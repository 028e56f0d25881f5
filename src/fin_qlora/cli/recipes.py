"""``fin-qlora recipes``: the settings that ship with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..files import write_text
from ..recipes.catalogue import (
    accelerate_profile_path,
    accelerate_profiles,
    recipe_names,
    recipe_path,
)
from .output import HUMAN, OutputOption, table

_PROFILES = "accelerate/"

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that `recipes ls` shows.")]


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
    """Print a recipe."""
    path = _path(name)
    text = path.read_text(encoding="utf-8").rstrip("\n")
    output.result({"name": name, "path": str(path), "text": text}, human=text, quiet=text)


def copy(
    name: Name,
    target: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to; here if left out.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    output: OutputOption = HUMAN,
) -> None:
    """Copy a recipe, to be changed and given to `fin-qlora train`."""
    source = _path(name)
    place = target or Path(source.name)
    place = place / source.name if place.is_dir() else place
    if place.exists() and not force:
        raise UsageError(f"'{place}' exists.", fix="Give another name, or pass --force.")
    write_text(place, source.read_text(encoding="utf-8"))
    output.result({"path": str(place)}, human=f"Wrote {place}", quiet=str(place))


def _path(name: str) -> Path:
    if name.startswith(_PROFILES):
        return accelerate_profile_path(name.removeprefix(_PROFILES))
    return recipe_path(name)


def _about(path: Path) -> str:
    """Return the first comment line of a recipe, which says what it is."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""
