"""Settings of a run: a YAML recipe plus flags, as TRL's users know them, without typos."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from trl import ModelConfig

from ..errors import UsageError
from ..models.base import Quantization
from ..models.tiny import TINY_ID
from ..prompts import Form, OnOverlong
from ..training import FinSFTConfig
from ..training.launched import Launched, planning
from .catalogue import recipe_path
from .flags import parse_flags
from .refused import refuse


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


def parse(arguments: list[str] | None = None, *, launched: Launched | None = None) -> Arguments:
    """Return the settings of a run from ``--config NAME_OR_PATH`` and flags, which win.

    Args:
        launched: how a run is going to be launched that is described here and not trained; None
            where this process is one of it.

    Raises:
        UsageError: an unknown key or flag (the nearest right one is named), or a value of the
            wrong type, such as an unquoted ``no`` where YAML reads false.
    """
    kinds = (RunArguments, FinSFTConfig, BaseArguments)
    with planning(launched):
        (run, training, base), recipe = parse_flags(kinds, arguments)
    refuse((training, base))
    if not run.task_names:
        raise UsageError("No task is named.", fix="Set `task:` in the recipe or pass --task.")
    if training.output_dir in (None, "trainer_output"):
        name = recipe_path(recipe).stem if recipe else "-".join(run.task_names)
        training.output_dir = str(Path("runs") / name)
    if str(training.resume_from_checkpoint).lower() in ("true", "false"):
        training.resume_from_checkpoint = str(training.resume_from_checkpoint).lower() == "true"
    return run, training, base
