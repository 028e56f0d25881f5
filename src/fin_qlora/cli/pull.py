"""``fin-qlora pull``: fetch an adapter and check it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .output import HUMAN, OutputOption


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("pull", short_help="Fetch an adapter and check it.")(pull)


def pull(
    repo_id: Annotated[str, typer.Argument(metavar="REPO", help="ORG/NAME[@REV] on the hub.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Where to; ./NAME if left out.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the folder whatever it holds.")
    ] = False,
    output: OutputOption = HUMAN,
) -> None:
    """Fetch an adapter into a folder and verify every file against its manifest."""
    from .. import publishing

    name = repo_id.partition("@")[0].rpartition("/")[2]
    place = publishing.pull(repo_id, folder or Path(name), revision=revision, force=force)
    output.result(
        {"repo": repo_id.partition("@")[0], "folder": str(place), "verified": True},
        human=f"{place}: every file is as it was after training",
        quiet=str(place),
    )
