"""``fin-qlora verify``: is this adapter the one that was trained?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import FindingsError
from .output import HUMAN, OutputOption


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("verify", short_help="Check an adapter against its manifest.")(verify)


def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="An adapter's folder.")],
    output: OutputOption = HUMAN,
) -> None:
    """Check every file of an adapter folder against its manifest; exit 1 if something differs."""
    from ..evidence import verify_files

    findings = verify_files(folder)
    good = f"{folder}: every file is as it was after training"
    output.result(
        {"folder": str(folder), "findings": findings},
        human="\n".join(findings) or good,
        quiet="\n".join(findings),
    )
    if findings:
        raise FindingsError(f"'{folder}' differs from its manifest: {len(findings)} finding(s).")
