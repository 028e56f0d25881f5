"""``fin-qlora data``: what is in a data set, what is wrong with it, and splits to train on."""

from __future__ import annotations

import typer

from . import data_checks, data_prepare, data_show, data_stats, data_xbrl


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.callback()(_group)
    for module in (data_checks, data_prepare, data_show, data_stats, data_xbrl):
        module.register(group)
    app.add_typer(group, name="data", help="Check, prepare and look at data sets.")


def _group() -> None:
    """Check, prepare and look at data sets."""
