"""The door of the command line: options for all commands, and what an error looks like."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..errors import UsageError
from ..exits import run_guarded
from ..offline import quiet_environment
from . import (
    calibrate,
    data,
    demo,
    doctor,
    evaluate,
    merge,
    plan,
    predict,
    pull,
    push,
    recipes,
    results,
    tasks,
    train,
    verify,
)
from .output import HUMAN, OutputOption, write

_EPILOG = """\b
Exit codes:
  0    it went well
  1    a check found something, or an unexpected fault
  2    the command, a flag or the recipe is not right
  3    the data or the adapter is not what it should be
  4    this machine cannot do it: full disk, missing package
  5    the hub did not do what was asked
  130  interrupted

\b
Environment:
  HF_ENDPOINT      address of your hub; none is assumed
  HF_TOKEN         your token there
  FIN_QLORA_DEBUG  1 shows the traceback of an error
"""

app = typer.Typer(
    name="fin-qlora",
    help="Fine-tune a language model on a financial task, and share the adapter with its evidence.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={
        "help_option_names": ["-h", "--help"],
        # both spellings of every flag: --data-dir and --data_dir
        "token_normalize_func": lambda token: token.replace("_", "-"),
        "max_content_width": 100,
    },
)
for _module in (
    *(demo, data, plan, train, evaluate, results, calibrate, predict, merge),
    *(push, pull, verify, recipes, tasks, doctor),
):
    _module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        write(__version__)
        raise typer.Exit


@app.callback()
def _options(
    output: OutputOption = HUMAN,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.", show_default=False)
    ] = False,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    if debug:
        os.environ["FIN_QLORA_DEBUG"] = "1"


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; every error is one sentence on stderr."""
    quiet_environment()
    if not sys.stderr.isatty():
        # a bar that is redrawn is noise in a log; read once, when the library is loaded
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return run_guarded(lambda: _call(arguments))


def main() -> NoReturn:
    """Run ``fin-qlora`` with the arguments of the process."""
    sys.exit(run(sys.argv[1:]))


def _call(arguments: Sequence[str]) -> int:
    try:
        code = app(list(arguments), prog_name="fin-qlora", standalone_mode=False)
    except typer.TyperException as error:
        raise UsageError(_sentence(error)) from error
    except typer.Abort:
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else 0


def _sentence(error: typer.TyperException) -> str:
    """Return the parser's complaint as a sentence that names the nearest right spelling."""
    near = getattr(error, "possibilities", None)
    option = getattr(error, "option_name", None)
    if option and near is not None:
        sentence = f"There is no flag '{option}'."
        return f"{sentence} Did you mean '{near[0]}'?" if near else f"{sentence} See --help."
    message = error.format_message().strip().replace("Value error, ", "")
    return message if message.endswith((".", "?", ")")) else f"{message}."
