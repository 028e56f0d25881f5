"""A run that is interrupted leaves a checkpoint, and goes on from it as if nothing had been."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from ...errors import CheckpointMismatchError, MissingFileError
from ...evidence.cost import RunCost
from .processes import on_any_process
from .saving import NOTE, checkpoints_in, recover

if TYPE_CHECKING:
    from ..config import FinSFTConfig
    from ..trainer import FinSFTTrainer

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

    ``cost`` is what the run had used until then and ``identity`` what it stood on, None where the
    checkpoint does not tell; ``temporary`` says that it was left only in case of an interruption.
    """

    folder: Path
    step: int
    cost: RunCost | None
    identity: dict[str, Any] | None
    temporary: bool
    ends: dict[str, Any] | None

    def ends_training(self, args: FinSFTConfig) -> bool:
        """Return whether it was left after the last step of a run as long as ``args`` say."""
        return self.ends == _length(args)


def resume_point(asked: str | bool | None, *, output_dir: Path) -> ResumePoint | None:
    """Return the checkpoint of a folder, or for True the last one in ``output_dir``.

    Raises:
        MissingFileError: there is none.
        CheckpointMismatchError: it is damaged.
    """
    if not asked:
        return None
    folder = _last(output_dir) if asked is True else Path(asked)
    state = folder / "trainer_state.json"
    if not state.is_file():
        raise MissingFileError(
            f"'{folder}' is no checkpoint: it has no trainer_state.json.",
            fix="Give a folder like OUTPUT_DIR/checkpoint-100.",
        )
    note: dict[str, Any] = {}
    try:
        if (folder / NOTE).is_file():
            note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        return ResumePoint(
            folder=folder,
            step=int(json.loads(state.read_text(encoding="utf-8"))["global_step"]),
            cost=RunCost.from_json(note["cost"]) if "cost" in note else None,
            identity=note.get("identity"),
            temporary=bool(note.get("temporary")),
            ends=note.get("ends"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointMismatchError(
            f"'{folder}' is damaged: its {NOTE} or trainer_state.json cannot be read ({error}).",
            fix="Resume from the checkpoint before it.",
        ) from error


def _last(output_dir: Path) -> Path:
    """Return the newest checkpoint; only whole ones have their name."""
    recover(output_dir)
    states = [folder / "trainer_state.json" for folder in checkpoints_in(output_dir)]
    states = [state for state in states if state.is_file()]
    if not states:
        raise MissingFileError(
            f"There is no checkpoint in '{output_dir}'.",
            fix="Check --output_dir, or train from the start.",
        )
    return max(states, key=lambda state: state.stat().st_mtime).parent


def train(
    trainer: FinSFTTrainer,
    *,
    start: ResumePoint | None = None,
    origin: Mapping[str, str] | None = None,
) -> list[Path]:
    """Train to the end, and leave a checkpoint there; return the temporary ones.

    Args:
        origin: what the run stands on besides its rows and settings, name -> digest: a checkpoint
            in which one of them is another is refused.

    Raises what ``FinSFTTrainer.train`` raises.
    """
    trainer.origin = dict(origin or {})
    temporary = [start.folder] if start is not None and start.temporary else []
    if start is not None and start.ends_training(trainer.args):
        # transformers would train one step more
        trainer.run.begin(start)
        trainer._load_from_checkpoint(str(start.folder))
        return temporary
    end = _End()
    trainer.add_callback(end)
    try:
        trainer.train(resume_from_checkpoint=str(start.folder) if start is not None else None)
    except TrainingInterrupted as stop:
        forget([folder for folder in temporary if folder != stop.checkpoint])
        raise
    finally:
        trainer.remove_callback(end)
    if end.checkpoint is not None and trainer.args.save_strategy == "no":
        temporary.append(end.checkpoint)
    return temporary


def forget(checkpoints: list[Path]) -> None:
    """Remove checkpoints that a finished run needs no more."""
    for folder in checkpoints:
        shutil.rmtree(folder, ignore_errors=True)


class _End(TrainerCallback):
    """Asks for a checkpoint after the last step."""

    def __init__(self) -> None:
        self.checkpoint: Path | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if state.global_step >= state.max_steps:
            control.should_save = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        self.checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        return control


class Guard(TrainerCallback):
    """Stops a run that is interrupted after the step at hand, with a checkpoint."""

    def __init__(self, trainer: FinSFTTrainer) -> None:
        self._trainer = trainer
        self._asked: float | None = None
        self._saved_at: int | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Stop the training in the block, on all processes alike, when one of them is asked to.

        Raises TrainingInterrupted when it has stopped with a checkpoint, and KeyboardInterrupt
        when it was asked so late that training had come to its end without one.
        """
        trainer = self._trainer
        trainer.add_callback(self)
        try:
            with self._listening():
                yield
                stopped = self._was_asked_on_any_process()
        finally:
            trainer.remove_callback(self)
        if not stopped:
            return
        step = trainer.state.global_step
        if self._saved_at != step:
            raise KeyboardInterrupt
        raise TrainingInterrupted(Path(str(trainer.args.output_dir)) / f"checkpoint-{step}")

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as a wish to stop, while the block runs."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        owner = os.getpid()
        watch = self._trainer.run.watch
        watch.stop_wanted = False

        def stop(_signal: int, _frame: FrameType | None) -> None:
            now = time.monotonic()
            if os.getpid() != owner or now - (self._asked or now) > PATIENCE:
                raise KeyboardInterrupt
            self._asked = self._asked or now
            watch.stop_wanted = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _was_asked_on_any_process(self) -> bool:
        """Return, on all processes alike, whether one of them was asked to stop."""
        asked = torch.tensor([self._asked is not None], device=self._trainer.args.device)
        return on_any_process(asked)[0]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Stop, and ask for a checkpoint."""
        if self._trainer.run.watch.stopping:
            control.should_training_stop = control.should_save = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Note that the weights at hand are in a checkpoint."""
        self._saved_at = state.global_step
        return control


def note_of(trainer: FinSFTTrainer) -> dict[str, Any]:
    """Return what a checkpoint tells of itself: see ResumePoint."""
    args, state = trainer.args, trainer.state
    return {
        "temporary": args.save_strategy == "no",
        "ends": _length(args) if state.global_step >= state.max_steps else None,
    }


def _length(args: FinSFTConfig) -> dict[str, Any]:
    return {"num_train_epochs": args.num_train_epochs, "max_steps": args.max_steps}
