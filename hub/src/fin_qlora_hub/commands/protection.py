"""Commands that set bounds: protected branches and tags, holds, names, quotas."""

from typing import Annotated

import typer

from fin_qlora_hub.commands.output import (
    DataDir,
    Format,
    OutputFormat,
    print_result,
    print_rows,
    settings_of,
)

app = typer.Typer()
quotas_app = typer.Typer(help="How many bytes namespaces may keep.", no_args_is_help=True)
app.add_typer(quotas_app, name="quota")

RepositoryArgument = Annotated[
    str, typer.Argument(help="NAMESPACE/NAME or datasets/NAMESPACE/NAME.")
]
ReferenceArgument = Annotated[
    str, typer.Argument(help="A tag or branch: v1, or refs/heads/v1 in full.")
]


@app.command()
def protect(
    repository: RepositoryArgument,
    reference: ReferenceArgument,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Let nobody move or remove a tag or a branch of a repository."""
    from fin_qlora_hub.access.protection import protect as keep
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.repositories.repository import read_name, require_repository

    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        found = require_repository(session, read_name(repository))
        name = keep(session, found, reference, by="administrator")
    _tell(repository, name, "is protected", form=form)


@app.command()
def unprotect(
    repository: RepositoryArgument,
    reference: ReferenceArgument,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Let a protected tag or branch be moved and removed again."""
    from fin_qlora_hub.access.protection import unprotect as let_go
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.repositories.repository import read_name, require_repository

    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        name = let_go(session, require_repository(session, read_name(repository)), reference)
    _tell(repository, name, "is no longer protected", form=form)


@app.command()
def protected(
    repository: RepositoryArgument,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """List the protected tags and branches of a repository."""
    from fin_qlora_hub.access.protection import list_protected
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.repositories.repository import read_name, require_repository

    with open_hub(settings_of(data_dir)) as hub, hub.database.reading() as session:
        found = require_repository(session, read_name(repository))
        rows = [
            {"ref": one.name, "by": one.protected_by, "since": one.created_at.isoformat()}
            for one in list_protected(session, found)
        ]
    print_rows(rows, form=form)


@app.command()
def hold(
    repository: RepositoryArgument,
    reason: Annotated[str, typer.Option(help="Why, such as a case or a ticket.")],
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Let nothing of a repository be removed, rewritten, moved or shown to others (legal hold)."""
    from fin_qlora_hub.access.protection import hold as keep
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.repositories.repository import read_name, require_repository

    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        keep(session, require_repository(session, read_name(repository)), reason=reason)
    _tell(repository, "", "is under a hold", form=form)


@app.command()
def release(
    repository: RepositoryArgument,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """End the hold on a repository."""
    from fin_qlora_hub.access.protection import release as let_go
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.repositories.repository import read_name, require_repository

    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        let_go(session, require_repository(session, read_name(repository)))
    _tell(repository, "", "is under no hold any more", form=form)


@app.command()
def held(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """List the repositories under a hold, and why."""
    from fin_qlora_hub.access.protection import list_held
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.repositories.repository import full_name

    with open_hub(settings_of(data_dir)) as hub, hub.database.reading() as session:
        rows = [
            {
                "repository": full_name(repository),
                "kind": repository.kind,
                "since": hold.created_at.isoformat(),
                "reason": hold.reason,
            }
            for repository, hold in list_held(session)
        ]
    print_rows(rows, form=form)


@app.command("change-key")
def change_key(
    at_once: Annotated[
        bool, typer.Option(help="Let nothing count any more that the former key signed.")
    ] = False,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Sign addresses and tokens of the chunk store with another key from now on."""
    from fin_qlora_hub.access.keys import REFRESH_SECONDS
    from fin_qlora_hub.access.keys import change_key as change
    from fin_qlora_hub.hub import open_hub

    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        change(session, at_once=at_once)
    until = "counts no longer" if at_once else "counts for six hours more at most"
    print_result(
        {"at_once": str(at_once).lower()},
        form=form,
        human=f"The hub has another key. What the former one signed {until}; servers that run "
        f"notice within {REFRESH_SECONDS:.0f} seconds.",
    )


@app.command("free-name")
def free_name(
    repository: RepositoryArgument,
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Let a name be used again from which a repository was moved or removed."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.repositories.repository import free_name as let_go
    from fin_qlora_hub.repositories.repository import read_name

    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        let_go(session, read_name(repository))
    _tell(repository, "", "can be used again", form=form)


@quotas_app.command("set")
def quota_set(
    namespace: Annotated[str, typer.Argument(help="A user or an organization.")],
    size: Annotated[str, typer.Argument(help="Such as 50GB or 1.5TiB; 'unlimited'; 'default'.")],
    data_dir: DataDir = None,
    form: OutputFormat = Format.HUMAN,
) -> None:
    """Say how many bytes a namespace may keep."""
    from fin_qlora_hub.access.identity import require_namespace
    from fin_qlora_hub.contents.reserving import set_quota
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.metadata.quotas import read_size

    quota = read_size(size)
    with open_hub(settings_of(data_dir)) as hub, hub.database.writing() as session:
        found = require_namespace(session, namespace)
        set_quota(session, found, quota)
        name = found.name
    result = {"namespace": name, "quota": size}
    print_result(result, form=form, human=f"The quota of {name} is now {size}.")


@quotas_app.command("list")
def quota_list(data_dir: DataDir = None, form: OutputFormat = Format.HUMAN) -> None:
    """List what each namespace keeps, has reserved, and may keep, in bytes."""
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.metadata.quotas import usages

    with open_hub(settings_of(data_dir)) as hub, hub.database.reading() as session:
        rows = [
            {
                "namespace": one.namespace,
                "stored": one.stored,
                "reserved": one.reserved,
                "quota": "unlimited" if one.quota is None else one.quota,
            }
            for one in usages(session)
        ]
    print_rows(rows, form=form)


def _tell(repository: str, reference: str, what: str, *, form: Format) -> None:
    result = {"repository": repository} | ({"ref": reference} if reference else {})
    print_result(result, form=form, human=f"{' '.join(result.values())} {what}.")
