"""The command line of the hub: what an administrator does on the server's machine."""

import json
import logging
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from fin_qlora_hub import __version__
from fin_qlora_hub.errors import HubError
from fin_qlora_hub.settings import Settings

MAX_DAYS = 36_500
app = typer.Typer(
    name="fin-qlora-hub",
    help="A private registry for models and adapters that stock Hugging Face clients can use.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
users = typer.Typer(help="People and machines that use the hub.", no_args_is_help=True)
organizations = typer.Typer(help="Namespaces that several users share.", no_args_is_help=True)
tokens = typer.Typer(help="Access tokens.", no_args_is_help=True)
app.add_typer(users, name="user")
app.add_typer(organizations, name="org")
app.add_typer(tokens, name="token")


class Format(StrEnum):
    """How results are printed."""

    HUMAN = "human"
    JSON = "json"
    QUIET = "quiet"


class MemberRole(StrEnum):
    """What a member may do in an organization."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


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


def main() -> None:
    """Run the command line; refusals become one line on stderr and an exit code."""
    os.umask(0o077)  # whatever the hub keeps, it keeps for itself
    try:
        app()
    except HubError as error:
        typer.echo(f"fin-qlora-hub: {error}", err=True)
        sys.exit(error.exit_code)
    except ValidationError as error:
        first = error.errors()[0]
        name = "FIN_QLORA_HUB_" + "_".join(map(str, first["loc"])).upper()
        typer.echo(f"fin-qlora-hub: {name}: {first['msg']}.", err=True)
        sys.exit(2)
    except OSError as error:
        typer.echo(f"fin-qlora-hub: {error}.", err=True)
        sys.exit(4)


def _settings(data_dir: Path | None) -> Settings:
    return Settings() if data_dir is None else Settings(data_dir=data_dir)


def _print(result: dict[str, str], *, form: Format, human: str, quiet: str = "") -> None:
    text = {Format.HUMAN: human, Format.JSON: json.dumps(result), Format.QUIET: quiet}[form]
    if text:
        typer.echo(text)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
def init(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """Make a data directory, or bring an existing one up to date."""
    from fin_qlora_hub.hub import initialise

    settings = _settings(data_dir)
    revision = initialise(settings)
    _print(
        {"data_dir": str(settings.data_dir), "schema": revision},
        form=form,
        human=f"{settings.data_dir} is ready (schema {revision}).",
    )


@app.command()
def serve(
    data_dir: DataDir = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes any.")] = 8420,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Serve the hub until it is interrupted; requests are logged on stderr."""
    from fin_qlora_hub.serving import serve as run

    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )

    logging.getLogger("alembic").setLevel(logging.WARNING)

    def announce(url: str) -> None:
        _print({"url": url}, form=form, human=f"The hub listens on {url}", quiet=url)

    run(_settings(data_dir), host=host, port=port, on_listening=announce)


@app.command()
def fsck(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """Look whether everything that the metadata names is there."""
    from fin_qlora_hub.checking import check
    from fin_qlora_hub.hub import open_hub

    with open_hub(_settings(data_dir)) as hub:
        _print_findings(check(hub), form=form, clean="Everything that is named is there.")


@app.command()
def scrub(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """Read every stored byte again and say what has changed; takes long."""
    from fin_qlora_hub.checking import scrub as read_again
    from fin_qlora_hub.hub import open_hub

    with open_hub(_settings(data_dir)) as hub:
        _print_findings(read_again(hub), form=form, clean="Every stored byte is as it came.")


def _print_findings(findings: Iterable[str], *, form: Format, clean: str) -> None:
    found = 0
    for found, finding in enumerate(findings, start=1):  # noqa: B007
        line = json.dumps({"finding": finding}) if form is Format.JSON else finding
        typer.echo(line)
    if found:
        raise typer.Exit(1)
    _print({"findings": "0"}, form=form, human=clean)


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option(help="Only say what would be removed.")] = False,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Remove contents that nothing has used for three weeks; a server may run meanwhile."""
    from fin_qlora_hub.collecting import collect
    from fin_qlora_hub.hub import open_hub

    with open_hub(_settings(data_dir)) as hub:
        removed = collect(hub, dry_run=dry_run)
    verb = "Would remove" if dry_run else "Removed"
    _print(
        {key: str(value) for key, value in asdict(removed).items()},
        form=form,
        human=f"{verb} {removed.xorbs} xorbs and {removed.contents} contents, "
        f"{removed.size:,} bytes; {removed.uncommitted} uploads were never committed.",
        quiet=str(removed.size),
    )


@users.command("add")
def user_add(
    name: Annotated[str, typer.Argument(help="The user's name, also of their namespace.")],
    full_name: Annotated[str | None, typer.Option(help="The name to show.")] = None,
    email: Annotated[str | None, typer.Option(help="The address that commits carry.")] = None,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Add a user, who may write in the namespace of their own name."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.identity import add_user

    with open_hub(_settings(data_dir)) as hub, hub.database.writing() as session:
        add_user(session, name, full_name=full_name, email=email)
    _print({"user": name}, form=form, human=f"Added the user {name}.", quiet=name)


@organizations.command("add")
def org_add(
    name: Annotated[str, typer.Argument(help="The organization's name.")],
    owner: Annotated[str, typer.Option(help="The user who administers it.")],
    full_name: Annotated[str | None, typer.Option(help="The name to show.")] = None,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Add an organization."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.identity import add_organization

    with open_hub(_settings(data_dir)) as hub, hub.database.writing() as session:
        add_organization(session, name, owner=owner, full_name=full_name)
    _print(
        {"organization": name, "owner": owner},
        form=form,
        human=f"Added the organization {name}, owned by {owner}.",
        quiet=name,
    )


@organizations.command("grant")
def org_grant(
    name: Annotated[str, typer.Argument(help="The organization's name.")],
    user: Annotated[str, typer.Argument(help="The user's name.")],
    role: Annotated[MemberRole, typer.Option(help="What they may do.")],
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Give a user a role in an organization, in place of any that they had."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.identity import Role, grant

    with open_hub(_settings(data_dir)) as hub, hub.database.writing() as session:
        grant(session, name, user, role=Role(role))
    _print(
        {"organization": name, "user": user, "role": role},
        form=form,
        human=f"{user} now has the role {role} in {name}.",
    )


@organizations.command("revoke")
def org_revoke(
    name: Annotated[str, typer.Argument(help="The organization's name.")],
    user: Annotated[str, typer.Argument(help="The user's name.")],
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Take a user out of an organization."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.identity import revoke

    with open_hub(_settings(data_dir)) as hub, hub.database.writing() as session:
        revoke(session, name, user)
    _print(
        {"organization": name, "user": user},
        form=form,
        human=f"{user} is no longer a member of {name}.",
    )


@tokens.command("create")
def token_create(
    user: Annotated[str, typer.Argument(help="Whose token it is.")],
    name: Annotated[str, typer.Option(help="What the token is called, unique for the user.")],
    role: Annotated[TokenRole, typer.Option(help="How far it carries.")] = TokenRole.READ,
    days: Annotated[
        int | None, typer.Option(min=1, max=MAX_DAYS, help="How many days it is good for.")
    ] = None,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Make an access token and show it, this once."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.identity import Role, create_token

    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with open_hub(_settings(data_dir)) as hub, hub.database.writing() as session:
        secret = create_token(session, user, name=name, role=Role(role), expires_at=expires)
    _print(
        {"token": secret, "user": user, "name": name, "role": role},
        form=form,
        human=f"{secret}\nKeep it: the hub does not, and cannot show it again.",
        quiet=secret,
    )


@tokens.command("revoke")
def token_revoke(
    user: Annotated[str, typer.Argument(help="Whose token it is.")],
    name: Annotated[str, typer.Option(help="What the token is called.")],
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Make a token useless from now on."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.identity import revoke_token

    with open_hub(_settings(data_dir)) as hub, hub.database.writing() as session:
        revoke_token(session, user, name=name)
    _print({"user": user, "name": name}, form=form, human=f"Revoked the token {name} of {user}.")
