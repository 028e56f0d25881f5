"""Settings of a run: a YAML recipe plus flags, as TRL's users know them, without typos."""

from __future__ import annotations

import os
import sys
import typing
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from trl import ModelConfig, TrlParser

from ..errors import UsageError, nearest
from ..models.base import Quantization
from ..models.tiny import TINY_ID
from ..prompts import Form, OnOverlong
from ..training import FinSFTConfig
from ..training.launched import Launched, planning
from .catalogue import recipe_path
from .refused import refuse
from .settings import read_settings


@dataclass
class RunArguments:
    """What is trained on and how it is asked; training and model settings are TRL's own."""

    task: str = field(default="", metadata={"help": "Name of the task; see `fin-qlora tasks ls`."})
    tasks: list[str] | None = field(
        default=None, metadata={"help": "Names of several tasks that one adapter learns together."}
    )
    data_dir: str | None = field(
        default=None, metadata={"help": "Folder that holds the files of all tasks."}
    )
    form: Form = field(
        default="plain", metadata={"help": "Prompt form: plain (the paper's) or chat."}
    )
    shots: int = field(
        default=0, metadata={"help": "Worked examples in every prompt, drawn from the train rows."}
    )
    shots_seed: int = field(default=0, metadata={"help": "Seed by which they are drawn."})
    on_overlong: OnOverlong = field(
        default="raise",
        metadata={"help": "A row longer than max_length: raise, shorten, drop or shorten_or_drop."},
    )
    synthetic_seed: int = field(default=0, metadata={"help": "Seed of generated data."})
    evaluation_batch_size: int = field(
        default=32, metadata={"help": "Rows in one forward pass of the evaluation."}
    )
    evaluation_rows: int | None = field(
        default=None,
        metadata={"help": "Evaluate at most so many rows of each task; all where it is not set."},
    )
    cpu_threads: int = field(
        default=0,
        metadata={
            "help": "Threads of each process on a machine without a GPU; 0 shares all cores."
        },
    )
    dry_run: bool = field(
        default=False, metadata={"help": "Check every row, print the plan, train nothing."}
    )

    def __post_init__(self) -> None:
        if isinstance(self.tasks, str):
            raise UsageError(f"tasks is '{self.tasks}'.", fix=f"Write a list: [{self.tasks}].")
        if self.task and self.tasks:
            raise UsageError(
                f"task is '{self.task}', and tasks are {', '.join(self.tasks)}.",
                fix="Set one of them.",
            )
        names = self.task_names
        if len(set(names)) < len(names):
            raise UsageError(f"The tasks {', '.join(names)} name one twice.", fix="Name each once.")
        if self.evaluation_rows is not None and self.evaluation_rows < 1:
            raise UsageError(
                f"evaluation_rows is {self.evaluation_rows}.",
                fix="Use 1 or more, or leave it out to evaluate every row.",
            )

    @property
    def task_names(self) -> list[str]:
        """The names of the task, or of all tasks, that are trained."""
        return list(self.tasks) if self.tasks else [self.task] if self.task else []


@dataclass
class BaseArguments(ModelConfig):
    """TRL's ModelConfig with the paper's LoRA preset: rank 4 at 4 bits, alpha 32, q, k and v."""

    model_name_or_path: str | None = field(
        default=TINY_ID, metadata={"help": "Folder or hub id of the base model."}
    )
    model_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the base model."}
    )
    use_peft: bool = field(default=True, metadata={"help": "Train a LoRA adapter."})
    dtype: str | None = field(
        default="bfloat16",
        metadata={"help": "Precision in which the base is computed: bfloat16, and no other."},
    )
    use_bnb_nested_quant: bool = field(
        default=True, metadata={"help": "Quantise the scales of a 4-bit base as well."}
    )
    lora_r: int = field(default=4, metadata={"help": "LoRA rank."})
    lora_alpha: int = field(default=32, metadata={"help": "LoRA alpha."})
    lora_dropout: float = field(default=0.1, metadata={"help": "LoRA dropout."})
    lora_target_modules: list[str] | None = field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj"],
        metadata={"help": "Names of the modules that get an adapter."},
    )

    def __post_init__(self) -> None:
        if self.load_in_4bit and self.load_in_8bit:
            raise UsageError(
                "load_in_4bit and load_in_8bit are both set.", fix="Choose one of them."
            )
        if not self.use_peft:
            raise UsageError("use_peft is false.", fix="fin-qlora trains adapters only.")
        super().__post_init__()

    @property
    def quantization(self) -> Quantization:
        """How the base is loaded."""
        if self.load_in_8bit:
            return "8bit"
        if not self.load_in_4bit:
            return "none"
        if self.bnb_4bit_quant_type == "fp4":
            return "4bit-fp4" if self.use_bnb_nested_quant else "4bit-fp4-single"
        return "4bit" if self.use_bnb_nested_quant else "4bit-single"


Arguments = tuple[RunArguments, FinSFTConfig, BaseArguments]


class _Parser(TrlParser):
    """TrlParser that neither guesses at abbreviations nor prints 400 lines of usage on a typo."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", fix="See --help.")


def parse(arguments: list[str] | None = None, *, launched: Launched | None = None) -> Arguments:
    """Return the settings of a run from ``--config NAME_OR_PATH`` and flags, which win.

    Args:
        launched: how a run is going to be launched that is described here and not trained; None
            where this process is one of it.

    Raises:
        UsageError: an unknown key or flag (the nearest right one is named), or a value of the
            wrong type, such as an unquoted ``no`` where YAML reads false.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    given = [part for item in given for part in _split_config(item)]
    parser = _Parser((RunArguments, FinSFTConfig, BaseArguments), allow_abbrev=False)
    known = {action.dest for action in parser._actions} - {"help"}
    _check_flags(given, known)
    given, recipe = _without_config(given)
    if recipe:
        settings = read_settings(recipe)
        _check_settings(settings, known, place=recipe)
        os.environ.update({key: str(value) for key, value in settings.pop("env", {}).items()})
        parser.set_defaults_with_config(**_without_tasks(settings, given))
    try:
        with planning(launched):
            *parsed, stray = parser.parse_args_into_dataclasses(
                given, return_remaining_strings=True
            )
    except (ValueError, TypeError) as error:
        raise UsageError(f"The settings do not fit: {str(error).splitlines()[0]}") from error
    if stray:
        raise UsageError(f"'{stray[0]}' belongs to no flag.", fix="Write --FLAG VALUE.")
    run, training, base = parsed
    refuse((training, base))
    if not run.task_names:
        raise UsageError("No task is named.", fix="Set `task:` in the recipe or pass --task.")
    if training.output_dir in (None, "trainer_output"):
        name = recipe_path(recipe).stem if recipe else "-".join(run.task_names)
        training.output_dir = str(Path("runs") / name)
    if str(training.resume_from_checkpoint).lower() in ("true", "false"):
        training.resume_from_checkpoint = str(training.resume_from_checkpoint).lower() == "true"
    return run, training, base


def _without_config(given: list[str]) -> tuple[list[str], str]:
    """Return the flags without ``--config RECIPE``, and the recipe; empty where none is named."""
    if "--config" not in given:
        return given, ""
    if given.count("--config") > 1:
        raise UsageError("--config is given twice.", fix="A recipe extends another by `extends:`.")
    at = given.index("--config")
    if at + 1 == len(given):
        raise UsageError("--config needs a recipe.", fix="See `fin-qlora recipes ls`.")
    return given[:at] + given[at + 2 :], given[at + 1]


def _without_tasks(settings: dict[str, Any], given: list[str]) -> dict[str, Any]:
    """Return what of a recipe holds beside the flags: ``--task`` takes its ``tasks`` back."""
    flags = {item.split("=", 1)[0] for item in given}
    if flags.isdisjoint(("--task", "--tasks")):
        return settings
    return {key: value for key, value in settings.items() if key not in ("task", "tasks")}


def _split_config(item: str) -> list[str]:
    return ["--config", item.removeprefix("--config=")] if item.startswith("--config=") else [item]


def _check_flags(given: list[str], known: set[str]) -> None:
    for item in given:
        if not item.startswith("-") or _is_number(item):
            continue
        name = item.split("=", 1)[0]
        flag = name.lstrip("-").replace("-", "_")
        right = flag in known | {"config", "help"} or _is_negated(flag, known)
        if item == "-h" or (right and name.startswith("--")):
            continue
        shown = "--" + flag if name.startswith("--") else name
        raise UsageError(f"There is no flag '{shown}'.", fix=_did_you_mean(flag, known, "--"))


def _is_number(item: str) -> bool:
    try:
        float(item)
    except ValueError:
        return False
    return True


def _is_negated(flag: str, known: set[str]) -> bool:
    return flag.startswith("no_") and flag.removeprefix("no_") in known


def _check_settings(settings: dict[str, Any], known: set[str], *, place: str) -> None:
    types = _types()
    for key, value in settings.items():
        if key == "env":
            if not isinstance(value, dict):
                raise UsageError(f"'{place}' sets 'env' to no mapping.", fix="Write NAME: value.")
            continue
        if key not in known:
            raise UsageError(
                f"'{place}' sets '{key}', which does not exist.", fix=_did_you_mean(key, known, "")
            )
        takes_bool = bool in types.get(key, {bool}) or key == "resume_from_checkpoint"
        if isinstance(value, bool) and not takes_bool:
            raise UsageError(
                f"'{place}' sets '{key}' to {str(value).lower()}, but it takes no yes or no.",
                fix=f'YAML reads a bare no, off or yes as that; quote it: {key}: "no".',
            )


def _types() -> dict[str, set[Any]]:
    """Return for each setting the plain types that it takes; empty where anything may do."""
    found: dict[str, set[Any]] = {}
    for kind in (RunArguments, FinSFTConfig, BaseArguments):
        hints = typing.get_type_hints(kind)
        for one in fields(kind):
            hint = hints[one.name]
            found[one.name] = set(typing.get_args(hint)) or {hint}
    return found


def _did_you_mean(name: str, known: set[str], prefix: str) -> str:
    close = nearest(name, known)
    return f"Did you mean '{prefix}{close}'?" if close else "See --help for all of them."
