"""Commands about the record of acts: to read it, to hand it on, and to see that it is whole."""

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.commands.output import DataDir, Format, OutputFormat, print_findings, settings_of
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.text import quoted

app = typer.Typer(help="The record of who did what, and when.", no_args_is_help=True)

_After = Annotated[int, typer.Option(min=0, help="Only records with a higher number.")]
_Since = Annotated[str | None, typer.Option(help="Only from this moment on (ISO 8601, UTC).")]
_Until = Annotated[str | None, typer.Option(help="Only before this moment (ISO 8601, UTC).")]
_User = Annotated[str | None, typer.Option(help="Only what this user did.")]
_Repository = Annotated[
    str | None, typer.Option(help="Only about NAMESPACE/NAME or datasets/NAMESPACE/NAME.")
]
_Act = Annotated[Act | None, typer.Option("--act", help="Only acts of this kind.")]


@app.command("list")
def show(
    after: _After = 0,
    since: _Since = None,
    until: _Until = None,
    user: _User = None,
    repository: _Repository = None,
    act: _Act = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """List records, oldest first."""
    found = _found(data_dir, after, since, until, user, repository, act, limit)
    for one in found:
        text = {
            Format.HUMAN: _line(one),
            Format.JSON: json.dumps(one, ensure_ascii=False),
            Format.QUIET: str(one["sequence"]),
        }
        typer.echo(text[form])


@app.command()
def export(
    to: Annotated[
        Path | None, typer.Option(help="A file to add the lines to.  [default: print them]")
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Only records with a higher number.  [default: what `to` lacks]"),
    ] = None,
    since: _Since = None,
    until: _Until = None,
    user: _User = None,
    repository: _Repository = None,
    act: _Act = None,
    data_dir: DataDir = None,
) -> None:
    """Write records as lines of JSON, for whatever collects them; it can be resumed at any line.

    The SHA-256 of a line without its `digest`, in canonical JSON (sorted keys, no spaces, UTF-8),
    is that digest, and `former` is that of the line before.
    """
    if after is None:
        after = 0 if to is None else _last_number(to)
    lines = (
        json.dumps(one, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"
        for one in _found(data_dir, after, since, until, user, repository, act, None)
    )
    if to is None:
        for line in lines:
            sys.stdout.write(line)
        return
    with to.open("a", encoding="utf-8") as handle:
        handle.writelines(lines)


@app.command()
def head(
    key: Annotated[Path | None, typer.Option(help="The key to sign it with.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Print number and digest of the last record: keep them where the hub cannot write."""
    from fin_qlora_hub.audit.record import read_head
    from fin_qlora_hub.care.audit_heads import note
    from fin_qlora_hub.care.bundles import read_private_key
    from fin_qlora_hub.hub import open_hub

    signer = None if key is None else read_private_key(key)
    with open_hub(settings_of(data_dir)) as hub, hub.database.reading() as session:
        made = note(read_head(session), key=signer)
    typer.echo(made.model_dump_json(exclude_none=True))


@app.command()
def verify(
    heads: Annotated[
        list[Path] | None, typer.Option("--head", help="A file of notes that `audit head` printed.")
    ] = None,
    trust: Annotated[
        list[Path] | None, typer.Option(help="A public key that must have signed the notes.")
    ] = None,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Look whether a record was changed, removed or moved since it was written."""
    from fin_qlora_hub.audit.record import verify as look
    from fin_qlora_hub.care.audit_heads import read_notes
    from fin_qlora_hub.care.bundles import read_public_key
    from fin_qlora_hub.hub import open_hub

    keys = [read_public_key(path) for path in trust or ()]
    if keys and not heads:
        raise BadRequestError("--trust is about the notes that --head names.")
    kept = [
        one for path in heads or () for one in read_notes(path.read_text("utf-8"), trusted=keys)
    ]
    with open_hub(settings_of(data_dir)) as hub, hub.database.reading() as session:
        print_findings(look(session, kept), form=form, clean="The record is whole.")


def _found(
    data_dir: Path | None,
    after: int,
    since: str | None,
    until: str | None,
    user: str | None,
    repository: str | None,
    act: Act | None,
    limit: int | None,
) -> Iterable[dict[str, Any]]:
    from fin_qlora_hub.audit.record import Search, find
    from fin_qlora_hub.hub import open_hub

    wanted = Search(after, _moment(since), _moment(until), user, repository, act)
    with open_hub(settings_of(data_dir)) as hub, hub.database.reading() as session:
        yield from find(session, wanted, limit=limit)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequestError(
            f"{quoted(text)} is no moment: write it like 2026-11-20 or 2026-11-20T18:30:00."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _last_number(path: Path) -> int:
    """Return the number of the last whole line of a file, so that one that was cut is resumed."""
    if not path.exists():
        return 0
    number = whole = 0
    with path.open("rb") as handle:
        for line in handle:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                number = int(json.loads(line)["sequence"])
            except (ValueError, KeyError, TypeError):
                raise BadRequestError(f"{path} holds other lines than records.") from None
    with path.open("rb+") as handle:
        handle.truncate(whole)
    return number


def _line(one: dict[str, Any]) -> str:
    who = one["actor"] or ("nobody" if one["means"] == "request" else f"the {one['means']}")
    how = one["address"] or ("on the server" if one["means"] == "command" else "")
    what = " ".join(f"{name}={json.dumps(value)}" for name, value in one["details"].items())
    parts = (one["sequence"], one["at"][:19], who, how, one["act"], one["repository"] or "", what)
    return "  ".join(str(part) for part in parts if part != "")
