"""Commands about repositories of another hub that this one mirrors."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from fin_qlora_hub.commands.output import (
    DataDir,
    Format,
    OutputFormat,
    fail_with,
    print_result,
    settings_of,
)
from fin_qlora_hub.errors import BadRequestError, HubError

if TYPE_CHECKING:
    from fin_qlora_hub.hub import Hub
    from fin_qlora_hub.mirrors.mirroring import Mirroring
    from fin_qlora_hub.repositories.repository import RepositoryName

app = typer.Typer(help="Repositories of another hub, kept here too.", no_args_is_help=True)
_Names = Annotated[
    list[str],
    typer.Argument(help="NAMESPACE/NAME or datasets/NAMESPACE/NAME, with @REVISION if not main."),
]


@app.command()
def add(names: _Names, data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """Fetch all files of repositories and show them here; a server may run.

    What breaks off goes on where it was when the command is given again.
    """
    wanted = [_read(name) for name in names]
    with _mirroring(data_dir) as (_, mirroring):
        for name, revision in wanted:
            taken = mirroring.take(name, revision or "main", whole=True)
            state = "new" if taken.new else "known"
            print_result(
                {"name": taken.name, "revision": revision or "main", "commit": taken.commit},
                form=form,
                human=f"{taken.name} is here as it is there at {taken.commit} ({state}).",
                quiet=taken.commit,
            )


@app.command()
def sync(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """Look where all mirrored branches and tags are now, and fetch what is new.

    Exits with 1 and a line for each that could not be had; those stay as they were.
    """
    from fin_qlora_hub.mirrors.following import followed_references

    problems = []
    with _mirroring(data_dir) as (hub, mirroring):
        with hub.database.reading() as session:
            followed = followed_references(session)
        for name, revision in followed:
            try:
                taken = mirroring.take(name, revision, whole=False)
            except HubError as error:
                problems.append(f"{name}@{revision}: {error}")
                continue
            print_result(
                {"name": taken.name, "revision": revision, "commit": taken.commit},
                form=form,
                human=f"{taken.name}@{revision} is at {taken.commit}.",
                quiet=taken.commit,
            )
    fail_with(problems, form=form)


@app.command("list")
def show(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """Show what is mirrored, and what went wrong with it."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.mirrors.following import list_followed

    with open_hub(settings_of(data_dir)) as hub, hub.database.reading() as session:
        followed = list_followed(session)
    for one in followed:
        prefix = "" if one.name.kind == "model" else f"{one.name.kind}s/"
        missing = f", {one.missing:,} to come" if one.missing else ""
        problem = f" {one.problem}" if one.problem else ""
        shown = {
            "name": f"{prefix}{one.name}",
            "revision": one.revision,
            "commit": one.commit,
            "whole": one.whole,
            "size": one.size,
            "missing": one.missing,
            "checked_at": one.checked_at.isoformat(timespec="seconds"),
            "problem": one.problem,
        }
        text = (
            f"{shown['name']}@{one.revision or '-'} {one.commit or '-'}, "
            f"{one.size:,} bytes{missing}, "
            f"looked up {shown['checked_at']}.{problem}"
        )
        typer.echo({Format.HUMAN: text, Format.JSON: json.dumps(shown)}.get(form, shown["name"]))


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="As for `add`; with @REVISION, only that goes.")],
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Remove a mirrored repository, or follow one of its revisions no longer."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.mirrors.registry import remove_mirror

    wanted, revision = _read(name)
    settings = settings_of(data_dir)
    with open_hub(settings) as hub, hub.database.writing() as session:
        remove_mirror(session, settings, wanted, revision)
    print_result({"removed": name}, form=form, human=f"Removed {name}.", quiet=name)


def _read(text: str) -> "tuple[RepositoryName, str | None]":
    from fin_qlora_hub.repositories.repository import read_name

    name, _, revision = text.partition("@")
    return read_name(name), revision or None


@contextmanager
def _mirroring(data_dir: DataDir) -> "Iterator[tuple[Hub, Mirroring]]":
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.mirrors.mirroring import Mirroring

    settings = settings_of(data_dir)
    if settings.mirror_upstream is None:
        raise BadRequestError(
            "No hub is named that could be mirrored: set FIN_QLORA_HUB_MIRROR_UPSTREAM."
        )
    with open_hub(settings) as hub:
        mirroring = Mirroring(settings, hub.database, hub.storage)
        try:
            yield hub, mirroring
        finally:
            mirroring.close()
