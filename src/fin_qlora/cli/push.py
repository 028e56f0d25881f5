"""``fin-qlora push``: publish an adapter or a base model."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import UsageError
from .output import HUMAN, OutputOption


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("push", short_help="Publish an adapter or a base model.")(push)


def push(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The adapter, or the base.")],
    repo_id: Annotated[
        str, typer.Argument(metavar="REPO", help="ORG/NAME on the hub that HF_ENDPOINT names.")
    ],
    base: Annotated[
        str | None,
        typer.Option(
            metavar="ORG/NAME[@REV]",
            help="The base's name on this hub, if the adapter names another; weights must agree.",
        ),
    ] = None,
    as_base: Annotated[
        bool, typer.Option("--as-base", help="FOLDER is a base model, not an adapter.")
    ] = False,
    tag: Annotated[str | None, typer.Option(help="Also name the commit.")] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Of the commit.")] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Let everyone on the hub read it.")
    ] = False,
    allow_noncommercial: Annotated[
        bool,
        typer.Option(
            "--allow-noncommercial", help="Publish what was trained on non-commercial data."
        ),
    ] = False,
    without_rows: Annotated[
        bool,
        typer.Option("--without-rows", help="Keep the texts of the evaluation rows to yourself."),
    ] = False,
    output: OutputOption = HUMAN,
) -> None:
    """Publish an adapter with its card and evidence, as one commit; again gives the same one."""
    from .. import publishing

    if as_base:
        if base or allow_noncommercial or without_rows:
            raise UsageError(
                "--base, --allow-noncommercial and --without-rows are about adapters.",
                fix="Leave out --as-base.",
            )
        done = publishing.push_base(folder, repo_id, private=not public, tag=tag, message=message)
    else:
        done = publishing.push(
            folder,
            repo_id,
            base=base,
            private=not public,
            tag=tag,
            message=message,
            allow_noncommercial=allow_noncommercial,
            rows=not without_rows,
        )
    output.result(
        done.to_dict(), human=f"{done.repo_id} is at {done.commit}\n{done.url}", quiet=done.commit
    )
