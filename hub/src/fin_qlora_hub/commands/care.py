"""Commands that look after what a hub keeps: checks, backups, and bundles for other sites."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fin_qlora_hub.commands.output import (
    DataDir,
    Format,
    OutputFormat,
    fail_with,
    print_findings,
    print_result,
    settings_of,
)

app = typer.Typer()


class ContentsPlace(StrEnum):
    """Where contents can lie."""

    BUCKET = "bucket"
    DISK = "disk"


@app.command()
def fsck(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """Look whether everything that the metadata names is there."""
    from fin_qlora_hub.care.checking import check
    from fin_qlora_hub.hub import open_hub

    with open_hub(settings_of(data_dir)) as hub:
        print_findings(check(hub), form=form, clean="Everything that is named is there.")


@app.command()
def scrub(
    set_aside: Annotated[
        bool, typer.Option(help="Move what has changed away, so that clients send it again.")
    ] = False,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Read every stored byte again and say what has changed; takes long."""
    from fin_qlora_hub.care.checking import scrub as read_again
    from fin_qlora_hub.hub import open_hub

    with open_hub(settings_of(data_dir)) as hub:
        print_findings(
            read_again(hub, set_aside=set_aside),
            form=form,
            clean="Every stored byte is as it came.",
        )


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option(help="Only say what would be removed.")] = False,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Remove contents that nothing has used for three weeks; a server may run meanwhile."""
    from fin_qlora_hub.care.collecting import collect
    from fin_qlora_hub.hub import open_hub

    with open_hub(settings_of(data_dir)) as hub:
        removed = collect(hub, dry_run=dry_run)
    verb = "Would remove" if dry_run else "Removed"
    print_result(
        {key: str(value) for key, value in asdict(removed).items()},
        form=form,
        human=f"{verb} {removed.xorbs} xorbs and {removed.contents} contents, "
        f"{removed.size:,} bytes; {removed.uncommitted} uploads were never committed.",
        quiet=str(removed.size),
    )


@app.command()
def migrate(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """Bring the tables of an existing hub up to date; `serve` does so too."""
    from fin_qlora_hub.metadata.database import open_database, place_of
    from fin_qlora_hub.metadata.schema import migrate as bring_up
    from fin_qlora_hub.metadata.schema import require_newest_form

    place = place_of(settings_of(data_dir))
    open_database(place).close()
    require_newest_form(place, older=True)
    revision = bring_up(place)
    print_result({"schema": revision}, form=form, human=f"The tables have the form {revision}.")


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A folder on another disk; may hold backups.")],
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Add a snapshot to a backup, verifying what is copied; a server may run meanwhile."""
    from fin_qlora_hub.care.backup import back_up
    from fin_qlora_hub.hub import open_hub

    with open_hub(settings_of(data_dir)) as hub:
        made = back_up(hub, target)
    print_result(
        {"snapshot": made.name, "rows": str(made.rows), "copied": str(made.copied)},
        form=form,
        human=f"Took the snapshot {made.name}: {made.rows:,} rows, {made.copied:,} bytes that were "
        "not in the backup before.",
        quiet=made.name,
    )
    fail_with(made.findings, form=form)


@app.command("copy-contents")
def copy_contents(
    to: Annotated[ContentsPlace, typer.Option(help="The bucket of the settings, or the disk.")],
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Copy all contents from the data directory to the bucket, or back; no server may run."""
    from fin_qlora_hub.care.relocating import relocate

    done = relocate(settings_of(data_dir), to_bucket=to is ContentsPlace.BUCKET)
    print_result(
        {"contents": str(done.contents), "xorbs": str(done.xorbs), "size": str(done.size)},
        form=form,
        human=f"Copied {done.contents} contents and {done.xorbs} xorbs, {done.size:,} bytes, to "
        f"the {to}; what was there before stays where it was.",
        quiet=str(done.size),
    )
    fail_with(done.findings, form=form)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="The folder of the backup.")],
    snapshot: Annotated[
        str | None, typer.Option(help="Which snapshot.  [default: the newest]")
    ] = None,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Make a hub of a backup, in an empty place; on SQLite or PostgreSQL, whatever it had."""
    from fin_qlora_hub.care.checking import check
    from fin_qlora_hub.care.restoring import restore as bring_back
    from fin_qlora_hub.hub import open_hub

    settings = settings_of(data_dir)
    findings = bring_back(settings, source, snapshot=snapshot)
    with open_hub(settings) as hub:
        findings += check(hub)
    text = f"Restored the hub in {settings.data_dir}."
    print_result({"data_dir": str(settings.data_dir)}, form=form, human=text)
    fail_with(findings, form=form)


@app.command()
def key(
    path: Annotated[Path, typer.Argument(help="Where to put it; the public half gets '.pub'.")],
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Make an Ed25519 key to sign bundles with."""
    from fin_qlora_hub.care.bundles import fingerprint, new_key, read_public_key

    public = new_key(path)
    name = fingerprint(read_public_key(public))
    print_result(
        {"key": str(path), "public": str(public), "fingerprint": name},
        form=form,
        human=f"Made {path}, which stays here, and {public} for whoever takes in your bundles.\n"
        f"Its fingerprint is {name}.",
        quiet=name,
    )


@app.command()
def export(
    names: Annotated[
        list[str], typer.Argument(help="Repositories: NAMESPACE/NAME or datasets/NAMESPACE/NAME.")
    ],
    to: Annotated[Path, typer.Option(help="The bundle to write.")],
    key: Annotated[Path, typer.Option(help="The key to sign it with.")],
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Write repositories with their history to one signed file, for a site without a network."""
    from fin_qlora_hub.care.bundles import read_private_key
    from fin_qlora_hub.care.exporting import export as write
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.repositories.repository import read_name

    wanted = [read_name(name) for name in names]
    signer = read_private_key(key)
    with open_hub(settings_of(data_dir)) as hub:
        made = write(hub, wanted, to, key=signer)
    print_result(
        {name: str(value) for name, value in asdict(made).items()},
        form=form,
        human=f"Wrote {made.repositories} repositories to {to}: {made.contents} contents, "
        f"{made.size:,} bytes.",
        quiet=str(to),
    )


@app.command("import")
def take_in(
    bundle: Annotated[Path, typer.Argument(help="The bundle.")],
    trust: Annotated[list[Path], typer.Option(help="A public key that may have signed it.")],
    into: Annotated[
        str | None, typer.Option(help="The namespace to put them in.  [default: as they were]")
    ] = None,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Take in the repositories of a bundle that somebody trusted signed; a server may run."""
    from fin_qlora_hub.care.bundles import read_public_key
    from fin_qlora_hub.care.importing import take_in as read
    from fin_qlora_hub.hub import open_hub

    keys = [read_public_key(path) for path in trust]
    with open_hub(settings_of(data_dir)) as hub, bundle.open("rb") as handle:
        made = read(hub, handle, trusted=keys, into=into)
    text = ", ".join(made.repositories)
    print_result(
        {"repositories": text, "signer": made.signer},
        form=form,
        human=f"Took in {text}, signed with {made.signer[:16]}…",
        quiet="\n".join(made.repositories),
    )
