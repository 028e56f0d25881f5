"""Programs that wait to be signed in: what an administrator may say in a user's place."""

from typing import Annotated

import typer

from fin_qlora_hub.commands.output import (
    DataDir,
    Format,
    OutputFormat,
    TokenRole,
    print_result,
    settings_of,
)

app = typer.Typer(help="Programs that wait to be signed in.", no_args_is_help=True)
Code = Annotated[str, typer.Argument(help="The code that the program shows.")]


@app.command("list")
def list_devices(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """List the programs that wait for an answer, one a line."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.signing_in.device_flow import list_waiting, shown

    with open_hub(settings_of(data_dir)) as hub, hub.database.reading() as session:
        for found in list_waiting(session):
            code = shown(found.user_code)
            row = {
                "code": code,
                "client_id": found.client_id,
                "agent": found.agent,
                "address": found.address,
                "asked": found.created_at.isoformat(timespec="seconds"),
            }
            human = f"{code}  {row['asked']}  {found.address}  {found.agent}"
            print_result(row, form=form, human=human, quiet=code)


@app.command()
def approve(
    code: Code,
    user: Annotated[str, typer.Option(help="As whom the program will act.")],
    role: Annotated[TokenRole, typer.Option(help="How far it carries.")] = TokenRole.READ,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Let a program act as a user."""
    from fin_qlora_hub.access.identity import Role, find_user
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.signing_in import device_flow

    settings = settings_of(data_dir)
    with open_hub(settings) as hub, hub.database.writing() as session:
        sign_in = device_flow.approve(
            session,
            device_flow.find(session, code),
            find_user(session, user).id,
            role=Role(role),
            days=settings.sign_in_days,
            approved_by=None,
        )
        name = sign_in.name
    print_result(
        {"user": user, "name": name, "role": role},
        form=form,
        human=f"The program now acts as {user}; `fin-qlora-hub token revoke {user} --name {name}` "
        "ends that.",
        quiet=name,
    )


@app.command()
def deny(code: Code, data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """Refuse a program."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.signing_in import device_flow

    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        device_flow.deny(session, device_flow.find(session, code))
    print_result({"denied": code}, form=form, human="The program gets no access.")
