"""Commands about webhooks: an administrator sees where the hub sends what, and can end it."""

import json
from typing import Annotated

import typer

from fin_qlora_hub.commands.output import DataDir, Format, OutputFormat, print_result, settings_of

app = typer.Typer(help="Webhooks of all users.", no_args_is_help=True)


@app.command("list")
def show(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """List the webhooks of all users with their hosts, and how many deliveries wait."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.webhooks.registry import survey

    with open_hub(settings_of(data_dir)) as hub, hub.database.reading() as session:
        found = survey(session)
    for one in found:
        state = "disabled" if one["disabled"] else f"{one['failures']} failures in a row"
        text = {
            Format.HUMAN: f"{one['id']}  {one['owner']}  {one['host']}  {state}, "
            f"{one['waiting']} waiting  {', '.join(one['watched'])}",
            Format.JSON: json.dumps(one),
            Format.QUIET: str(one["id"]),
        }
        typer.echo(text[form])


@app.command("disable")
def switch_off(
    number: Annotated[int, typer.Argument(help="The number that `webhook list` shows.")],
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Tell a webhook of nothing any more, until its owner enables it again."""
    from fin_qlora_hub.errors import NotFoundError
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.metadata.tables import Webhook
    from fin_qlora_hub.webhooks.registry import disable

    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        webhook = session.get(Webhook, number)
        if webhook is None:
            raise NotFoundError(f"There is no webhook {number}.")
        disable(session, webhook, reason="by an administrator")
    print_result({"webhook": str(number)}, form=form, human=f"Disabled webhook {number}.")
