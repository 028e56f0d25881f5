"""A run that is interrupted leaves a checkpoint, and goes on from it as if nothing had been."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from ..errors import MissingFileError
from ..files import write_json

if TYPE_CHECKING:
    from .config import FinSFTConfig
    from .trainer import FinSFTTrainer

#: Beside transformers' own files in a checkpoint: what resuming and the evidence need to know.
NOTE = "fin_qlora_run.json"

#: Launchers pass one Ctrl-C on more than once; a signal later than this many seconds is a new one.
PATIENCE = 3.0


class TrainingInterrupted(KeyboardInterrupt):
    """Training was stopped from outside; ``checkpoint`` is where it can go on."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__(str(checkpoint))
        self.checkpoint = checkpoint


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """A checkpoint to go on from.

    ``seconds`` is what was trained until then, None where the checkpoint does not tell;
    ``temporary`` says that it was left only in case of an interruption.
    """

    folder: Path
    step: int
    seconds: float | None
    temporary: bool
    ends: dict[str, Any] | None

    def ends_training(self, args: FinSFTConfig) -> bool:
        """Return whether it was left after the last step of a run as long as ``args`` say."""
        return self.ends == _length(args)


def resume_point(asked: str | bool | None, *, output_dir: Path) -> ResumePoint | None:
    """Return the checkpoint of a folder, or for True the last one in ``output_dir``.

    Raises MissingFileError when there is none.
    """
    if not asked:
        return None
    folder = Path(asked) if isinstance(asked, str) else _last(output_dir)
    state = folder / "trainer_state.json"
    if not state.is_file():
        raise MissingFileError(
            f"'{folder}' is no checkpoint: it has no trainer_state.json.",
            fix="Give a folder like OUTPUT_DIR/checkpoint-100.",
        )
    note: dict[str, Any] = {}
    if (folder / NOTE).is_file():
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    return ResumePoint(
        folder=folder,
        step=int(json.loads(state.read_text(encoding="utf-8"))["global_step"]),
        seconds=note.get("train_seconds"),
        temporary=bool(note.get("temporary")),
        ends=note.get("ends"),
    )


def _last(output_dir: Path) -> Path:
    """Return the newest checkpoint that is whole: its state is what is written last."""
    states = list(output_dir.glob("checkpoint-*/trainer_state.json"))
    if not states:
        raise MissingFileError(
            f"There is no checkpoint in '{output_dir}'.",
            fix="Check --output_dir, or train from the start.",
        )
    return max(states, key=lambda state: state.stat().st_mtime).parent


def train(trainer: FinSFTTrainer, *, start: ResumePoint | None = None) -> list[Path]:
    """Train to the end, and leave a checkpoint there; return the temporary ones.

    A first Ctrl-C or SIGTERM stops after the step at hand, on all processes alike, with a
    checkpoint; a second one stops at once.

    Raises TrainingInterrupted after the first.
    """
    temporary = [start.folder] if start is not None and start.temporary else []
    if start is not None and start.ends_training(trainer.args):
        # transformers would train one step more
        trainer._load_from_checkpoint(str(start.folder))
        return temporary
    guard = _Guard(earlier=start.seconds or 0.0 if start is not None else 0.0)
    trainer.add_callback(guard)
    with guard.listening():
        trainer.train(resume_from_checkpoint=str(start.folder) if start is not None else None)
    trainer.remove_callback(guard)
    if guard.stopped and guard.checkpoint is not None:
        forget(temporary)
        raise TrainingInterrupted(guard.checkpoint)
    if guard.checkpoint is not None and trainer.args.save_strategy == "no":
        temporary.append(guard.checkpoint)
    return temporary


def forget(checkpoints: list[Path]) -> None:
    """Remove checkpoints that a finished run needs no more."""
    for folder in checkpoints:
        shutil.rmtree(folder, ignore_errors=True)


class _Guard(TrainerCallback):
    """Asks for a checkpoint after the last step, whether it is the last one by plan or not."""

    def __init__(self, *, earlier: float) -> None:
        self.stopped = False
        self.checkpoint: Path | None = None
        self._earlier = earlier
        self._begun = time.perf_counter()
        self._asked: float | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as a wish to stop, while the block runs."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        owner = os.getpid()

        def stop(_signal: int, _frame: FrameType | None) -> None:
            now = time.monotonic()
            if os.getpid() != owner or now - (self._asked or now) > PATIENCE:
                raise KeyboardInterrupt
            self._asked = self._asked or now

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        self.stopped = _on_any_process(self._asked is not None, device=args.device)
        if self.stopped:
            control.should_training_stop = True
        if self.stopped or state.global_step >= state.max_steps:
            control.should_save = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        self.checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero:
            note = {
                "train_seconds": self._earlier + time.perf_counter() - self._begun,
                "temporary": args.save_strategy == "no",
                "ends": _length(args) if state.global_step >= state.max_steps else None,
            }
            write_json(self.checkpoint / NOTE, note)
        return control


def _length(args: FinSFTConfig) -> dict[str, Any]:
    return {"num_train_epochs": args.num_train_epochs, "max_steps": args.max_steps}


def _on_any_process(value: bool, *, device: torch.device) -> bool:
    """Return whether ``value`` is true on any process: a signal reaches one before another."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return value
    flag = torch.tensor([int(value)], device=device)
    torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
    return bool(flag.item())
