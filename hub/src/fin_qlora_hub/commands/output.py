"""What all commands share: where the hub is, and how results are printed."""

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fin_qlora_hub.settings import Settings


class Format(StrEnum):
    """How results are printed."""

    HUMAN = "human"
    JSON = "json"
    QUIET = "quiet"


class TokenRole(StrEnum):
    """How far a token carries."""

    READ = "read"
    WRITE = "write"


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="FIN_QLORA_HUB_DATA_DIR",
        help="Where the hub keeps everything.  [default: fin-qlora-hub-data]",
    ),
]
OutputFormat = Annotated[Format, typer.Option("--format", help="How to print the result.")]


def settings_of(data_dir: Path | None) -> Settings:
    """Return the settings of the hub that a command is about."""
    return Settings() if data_dir is None else Settings(data_dir=data_dir)


def print_result(
    result: Mapping[str, object], *, form: Format, human: str, quiet: str = ""
) -> None:
    """Print a result in one of its three forms."""
    text = {Format.HUMAN: human, Format.JSON: json.dumps(result), Format.QUIET: quiet}[form]
    if text:
        typer.echo(text)


def print_rows(rows: Iterable[Mapping[str, object]], *, form: Format) -> None:
    """Print one line for each row: its values, an object of JSON, or its first value."""
    for row in rows:
        values = [str(value) for value in row.values()]
        text = {
            Format.HUMAN: "  ".join(values),
            Format.JSON: json.dumps(row),
            Format.QUIET: values[0],
        }
        typer.echo(text[form])


def print_findings(findings: Iterable[str], *, form: Format, clean: str) -> None:
    """Print one line for each finding and exit with 1, or say that all is well."""
    found = 0
    for found, finding in enumerate(findings, start=1):  # noqa: B007
        line = json.dumps({"finding": finding}) if form is Format.JSON else finding
        typer.echo(line)
    if found:
        raise typer.Exit(1)
    print_result({"findings": "0"}, form=form, human=clean)


def fail_with(findings: Iterable[str], *, form: Format) -> None:
    """Print findings, if there are any, and exit with 1."""
    found = list(findings)
    if found:
        print_findings(found, form=form, clean="")
