"""The command line of the hub: what an administrator does on the server's machine."""

import getpass
import logging
import os
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer
from pydantic import ValidationError

from fin_qlora_hub import __version__
from fin_qlora_hub.audit.acting import Actor, Means, act_as
from fin_qlora_hub.commands import audit as audit_commands
from fin_qlora_hub.commands import care
from fin_qlora_hub.commands import devices as device_commands
from fin_qlora_hub.commands import mirrors as mirror_commands
from fin_qlora_hub.commands import protection as guarding
from fin_qlora_hub.commands import webhooks as webhook_commands
from fin_qlora_hub.commands.output import (
    DataDir,
    Format,
    OutputFormat,
    TokenRole,
    print_result,
    print_rows,
    settings_of,
)
from fin_qlora_hub.errors import HubError, UnreachableError

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
app.add_typer(care.app)
app.add_typer(guarding.app)
app.add_typer(users, name="user")
app.add_typer(organizations, name="org")
app.add_typer(tokens, name="token")
app.add_typer(audit_commands.app, name="audit")
app.add_typer(webhook_commands.app, name="webhook")
app.add_typer(mirror_commands.app, name="mirror")
app.add_typer(device_commands.app, name="device")


class MemberRole(StrEnum):
    """What a member may do in an organization."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


def main() -> None:
    """Run the command line; refusals become one line on stderr and an exit code."""
    os.umask(0o077)  # whatever the hub keeps, it keeps for itself
    act_as(Actor(Means.COMMAND, name=_operator()))
    try:
        app()
    except UnreachableError as error:
        typer.echo(f"fin-qlora-hub: {error} ({error.reason})", err=True)
        sys.exit(error.exit_code)
    except HubError as error:
        typer.echo(f"fin-qlora-hub: {error}", err=True)
        sys.exit(error.exit_code)
    except ValidationError as error:
        typer.echo(f"fin-qlora-hub: {_wrong_setting(error)}.", err=True)
        sys.exit(2)
    except OSError as error:
        typer.echo(f"fin-qlora-hub: {error}.", err=True)
        sys.exit(4)


def _wrong_setting(error: ValidationError) -> str:
    """Return the first setting that cannot be, by the name of its variable, and why."""
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # settings that do not go together: the reason names them
        return reason
    name = str(first["loc"][0]).upper().removeprefix("FIN_QLORA_HUB_")
    return f"FIN_QLORA_HUB_{name}: {reason}"


def _operator() -> str:
    """Return who gives a command, behind `sudo` as well."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in containers
        return str(os.getuid())


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
def init(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """Make a data directory, or bring an existing one up to date."""
    from fin_qlora_hub.hub import initialise

    settings = settings_of(data_dir)
    revision = initialise(settings)
    print_result(
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
        print_result({"url": url}, form=form, human=f"The hub listens on {url}", quiet=url)

    run(settings_of(data_dir), host=host, port=port, on_listening=announce)


@users.command("add")
def user_add(
    name: Annotated[str, typer.Argument(help="The user's name, also of their namespace.")],
    full_name: Annotated[str | None, typer.Option(help="The name to show.")] = None,
    email: Annotated[str | None, typer.Option(help="The address that commits carry.")] = None,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Add a user, who may write in the namespace of their own name."""
    from fin_qlora_hub.access.identity import add_user
    from fin_qlora_hub.hub import open_hub

    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        add_user(session, name, full_name=full_name, email=email)
    print_result({"user": name}, form=form, human=f"Added the user {name}.", quiet=name)


@users.command("list")
def user_list(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """List all users, one a line."""
    from fin_qlora_hub.access.identity import list_users
    from fin_qlora_hub.hub import open_hub

    with open_hub(settings_of(data_dir)) as hub, hub.database.reading() as session:
        rows = [
            {"user": user.name, "full_name": user.full_name, "email": user.email or ""}
            for user in list_users(session)
        ]
    print_rows(rows, form=form)


@organizations.command("add")
def org_add(
    name: Annotated[str, typer.Argument(help="The organization's name.")],
    owner: Annotated[str, typer.Option(help="The user who administers it.")],
    full_name: Annotated[str | None, typer.Option(help="The name to show.")] = None,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Add an organization."""
    from fin_qlora_hub.access.identity import add_organization
    from fin_qlora_hub.hub import open_hub

    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        add_organization(session, name, owner=owner, full_name=full_name)
    print_result(
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
    from fin_qlora_hub.access.identity import Role, grant
    from fin_qlora_hub.hub import open_hub

    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        grant(session, name, user, role=Role(role))
    print_result(
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
    from fin_qlora_hub.access.identity import revoke
    from fin_qlora_hub.hub import open_hub

    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        revoke(session, name, user)
    print_result(
        {"organization": name, "user": user},
        form=form,
        human=f"{user} is no longer a member of {name}.",
    )


@organizations.command("list")
def org_list(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """List who has which role in which organization, one a line."""
    from fin_qlora_hub.access.identity import list_members
    from fin_qlora_hub.hub import open_hub

    with open_hub(settings_of(data_dir)) as hub, hub.database.reading() as session:
        rows = [
            {"organization": organization, "user": user, "role": role}
            for organization, user, role in list_members(session)
        ]
    print_rows(rows, form=form)


@tokens.command("create")
def token_create(
    user: Annotated[str, typer.Argument(help="Whose token it is.")],
    name: Annotated[str, typer.Option(help="What the token is called, unique for the user.")],
    role: Annotated[TokenRole, typer.Option(help="How far it carries.")] = TokenRole.READ,
    days: Annotated[
        int | None, typer.Option(min=1, max=MAX_DAYS, help="How many days it is good for.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMESPACE[/NAME]",
            help="Limit it to a namespace or a repository (a data set: datasets/NAMESPACE/NAME); "
            "may be given several times.",
        ),
    ] = None,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Make an access token and show it, this once."""
    from fin_qlora_hub.access.identity import Role, create_token
    from fin_qlora_hub.access.reach import Reach
    from fin_qlora_hub.hub import open_hub

    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        reach = Reach.of(only) if only else None
        secret = create_token(
            session, user, name=name, role=Role(role), expires_at=expires, reach=reach
        )
    print_result(
        {"token": secret, "user": user, "name": name, "role": role},
        form=form,
        human=f"{secret}\nKeep it: the hub does not, and cannot show it again.",
        quiet=secret,
    )


@tokens.command("list")
def token_list(
    user: Annotated[str | None, typer.Argument(help="Whose; of everyone by default.")] = None,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """List tokens and sign-ins, one a line; what they are for, never the secret."""
    from fin_qlora_hub.access.identity import list_tokens
    from fin_qlora_hub.hub import open_hub

    with open_hub(settings_of(data_dir)) as hub, hub.database.reading() as session:
        for token, owner in list_tokens(session, user):
            row = {
                "user": owner,
                "name": token.name,
                "kind": token.kind,
                "role": token.role,
                "only": list(token.reach or ()),
                "created": day(token.created_at),
                "expires": day(token.expires_at),
                "last_used": day(token.last_used_at),
            }
            limits = f", only {' '.join(token.reach)}" if token.reach else ""
            human = (
                f"{owner}  {token.name}  {token.kind}, {token.role}{limits}  made {row['created']}"
                f"  ends {row['expires'] or 'never'}  used {row['last_used'] or 'never'}"
            )
            print_result(row, form=form, human=human, quiet=f"{owner} {token.name}")


def day(when: datetime | None) -> str:
    """Return a moment as lists show it; empty where there is none."""
    return "" if when is None else f"{when:%Y-%m-%dT%H:%MZ}"


@tokens.command("revoke")
def token_revoke(
    user: Annotated[str, typer.Argument(help="Whose token it is.")],
    name: Annotated[str | None, typer.Option(help="What the token is called.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All tokens and sign-ins of the user, as when they leave.")
    ] = False,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Make a token useless from now on."""
    from fin_qlora_hub.access.identity import revoke_all_tokens, revoke_token
    from fin_qlora_hub.hub import open_hub

    if every == (name is not None):
        raise typer.BadParameter("give --name or --all, one of them", param_hint="--name")
    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        if name is None:
            count = revoke_all_tokens(session, user)
            result = {"user": user, "revoked": count}
            human = f"Revoked all tokens and sign-ins of {user}: {count}."
        else:
            revoke_token(session, user, name=name)
            result = {"user": user, "name": name}
            human = f"Revoked the token {name} of {user}."
    print_result(result, form=form, human=human)
