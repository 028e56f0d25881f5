"""Settings of an evaluation: a YAML recipe plus flags."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..evaluation.evaluation import Answers
from ..evaluation.overlong import OnOverlongRow
from ..evaluation.settings import EvaluationSettings
from ..models.base import Quantization
from ..prompts import Form
from ..tasks.task import Split
from .catalogue import recipe_path
from .flags import parse_flags


@dataclass
class EvaluationArguments:
    """Which model is asked about which rows, and where the results go."""

    model: str = field(
        default="", metadata={"help": "Base or adapter: a folder or ORG/NAME on your hub."}
    )
    revision: str | None = field(
        default=None, metadata={"help": "Its branch, tag or commit on the hub."}
    )
    quantization: Quantization | None = field(
        default=None, metadata={"help": "How to load the base; as trained if left out."}
    )
    task: str = field(default="", metadata={"help": "Name of the task; see `fin-qlora tasks ls`."})
    tasks: list[str] | None = field(
        default=None, metadata={"help": "Several tasks; all of an adapter's if left out."}
    )
    data_dir: str | None = field(
        default=None, metadata={"help": "Folder that holds the files of all tasks."}
    )
    split: Split = field(default="test", metadata={"help": "Which rows."})
    form: Form | None = field(default=None, metadata={"help": "How a base is asked."})
    shots: int = field(default=0, metadata={"help": "Worked examples that a base is shown."})
    shots_seed: int = field(default=0, metadata={"help": "Seed by which they are drawn."})
    answers: Answers = field(
        default="likelihood",
        metadata={"help": "Labels: likelihood, generate, or both and how far they agree."},
    )
    abstain_below: float | None = field(
        default=None, metadata={"help": "Also tell what comes of a threshold of probability."}
    )
    on_overlong: OnOverlongRow = field(
        default="raise",
        metadata={"help": "Rows longer than the model reads: raise, or count them as wrong."},
    )
    limit: int | None = field(default=None, metadata={"help": "Only the first rows of each task."})
    batch_size: int = field(default=32, metadata={"help": "Rows in one forward pass at most."})
    pipeline_stages: int = field(
        default=1,
        metadata={"help": "Processes over which the layers are spread, under torchrun."},
    )
    out: str | None = field(
        default=None, metadata={"help": "Folder for the results; a stopped run goes on there."}
    )
    restart: bool = field(
        default=False, metadata={"help": "Forget what an earlier run has left in that folder."}
    )
    cpu_threads: int = field(
        default=0,
        metadata={"help": "Threads of each process on a machine without a GPU; 0 shares all."},
    )

    def __post_init__(self) -> None:
        if isinstance(self.tasks, str):
            raise UsageError(f"tasks is '{self.tasks}'.", fix=f"Write a list: [{self.tasks}].")
        if not all(isinstance(name, str) for name in self.tasks or ()):
            raise UsageError(f"tasks is {self.tasks}.", fix="Write a list of names.")
        if self.task and self.tasks:
            raise UsageError(
                f"task is '{self.task}', and tasks are {', '.join(self.tasks)}.",
                fix="Set one of them.",
            )
        if self.restart and self.out is None:
            raise UsageError("restart is set without out.", fix="Name the folder: --out.")
        if self.pipeline_stages < 1:
            raise UsageError(f"pipeline_stages is {self.pipeline_stages}.", fix="Use 1 or more.")
        #: What is asked, and how.
        self.settings = EvaluationSettings(
            tasks=tuple(self.tasks or ([self.task] if self.task else [])),
            data_dir=Path(self.data_dir) if self.data_dir else None,
            split=self.split,
            form=self.form,
            shots=self.shots,
            shots_seed=self.shots_seed,
            limit=self.limit,
            batch_size=self.batch_size,
            answers=self.answers,
            abstain_below=self.abstain_below,
            on_overlong=self.on_overlong,
        )

    @property
    def folder(self) -> Path | None:
        """Where the results go; None for nowhere."""
        return Path(self.out) if self.out else None


def parse_evaluation(arguments: list[str] | None = None) -> EvaluationArguments:
    """Return the settings of an evaluation from ``--config NAME_OR_PATH`` and flags, which win.

    Results go to ``runs/NAME-evaluation`` where no other folder is named.

    Raises UsageError for an unknown key or flag, a value of the wrong type, or no model.
    """
    (found,), recipe = parse_flags((EvaluationArguments,), arguments)
    if not isinstance(found, EvaluationArguments) or not found.model:
        raise UsageError("No model is named.", fix="Set `model:` in the recipe or pass --model.")
    if found.out is None:
        name = recipe_path(recipe).stem if recipe else Path(found.model).resolve().name
        found.out = str(Path("runs") / f"{name}-evaluation")
    return found
