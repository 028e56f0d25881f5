"""One training from its first step to its last: what it stands on, keeps, and cannot survive."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback

from ...evidence.cost import NOTHING
from ...models.peers import Peers
from ..batches.data_digest import require_same_data
from .checkpoints import Guard, ResumePoint, note_of, resume_point
from .faults import StepWatch
from .identity import identity_of, require_same_on_all, require_same_run
from .metering import CostMeter
from .saving import STAGING, clean, save_whole

if TYPE_CHECKING:
    from ..trainer import FinSFTTrainer

_LOST = (
    "Look for its own last words above, and for the system's log when it was killed for want of "
    "memory; then go on with --resume_from_checkpoint true."
)


class Run(TrainerCallback):
    """What happens around the steps of a FinSFTTrainer, and between them."""

    def __init__(self, trainer: FinSFTTrainer) -> None:
        self._trainer = trainer
        self._saving = False
        self._identity: dict[str, Any] = {}
        self._start: ResumePoint | None = None
        self._push: Path | None = None
        self._peers: Peers | None = None
        self.watch = StepWatch(trainer)
        self.meter = CostMeter(trainer)
        #: What the run cost, with the parts that it was resumed from; nothing before it has ended.
        self.cost = NOTHING

    @contextlib.contextmanager
    def going(self, asked: str | bool | None) -> Iterator[str | None]:
        """Train in the block; yield the checkpoint to go on from, or None.

        Raises:
            MissingFileError, CheckpointMismatchError: there is nothing to go on from, or it is of
                another run.
            DataError: the processes would not train the same.
            MemoryShortError, ProcessLostError: the run cannot go on here.
            TrainingInterrupted: it was asked to stop, and has left a checkpoint.
        """
        args = self._trainer.args
        run_dir = Path(str(args.output_dir))
        self.begin(resume_point(asked, output_dir=run_dir))
        if self._trainer.is_local_process_zero():
            clean(run_dir)
        self._trainer.accelerator.wait_for_everyone()
        # outermost: a launcher also ends those that are still finding out which process was lost
        with Guard(self._trainer).watching(), self.together(), self.watch.memory_is_an_error():
            yield None if self._start is None else str(self._start.folder)
            self.cost = self.meter.gathered()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Say which process was lost when the block's work on all of them breaks off."""
        if self._peers is None:
            self._peers = Peers.of_this_run()
        with self._peers.lost_is_an_error(timeout=float(self._trainer.args.ddp_timeout), fix=_LOST):
            yield

    def begin(self, start: ResumePoint | None) -> None:
        """Check that all processes, and the checkpoint if there is one, belong to one run."""
        self._start = start
        require_same_data(self._trainer.train_dataset)
        self._identity = identity_of(self._trainer)
        require_same_on_all(self._identity, all_of_them=gather_object([self._identity]))
        if start is not None and start.identity is not None:
            require_same_run(start.identity, self._identity, folder=start.folder)
        earlier = start.cost if start is not None else NOTHING
        self.cost = earlier or NOTHING.and_before(None)
        self.meter.begin(earlier=earlier)

    def place(self, run_dir: str) -> str:
        """Return where transformers is to write checkpoints: while it does, where none counts."""
        return str(Path(run_dir) / STAGING) if self._saving else run_dir

    def save(self, write: Callable[[], None], *, run_dir: str) -> None:
        """Save a checkpoint that is whole or absent, and publish it if that was asked for."""
        note = {**note_of(self._trainer), "identity": self._identity}
        note["cost"] = self.meter.gathered().as_json()

        def write_all() -> None:
            self._saving = True
            try:
                write()
            finally:
                self._saving = False
            name = f"checkpoint-{self._trainer.state.global_step}"
            self._write_counters(Path(run_dir) / STAGING / name)

        folder = save_whole(self._trainer, write_all, run_dir=Path(run_dir), note=note)
        if self._push is not None:
            self._push = None
            self._trainer._push_from_checkpoint(str(folder))

    def pushes_later(self, folder: str) -> bool:
        """Return whether a folder has not its name yet, and is to be published when it has."""
        if self._saving:
            self._push = Path(folder)
        return self._saving

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the running sums of the checkpoint, and note the weights."""
        if self._start is not None:
            self._read_counters(self._start.folder)
        self.watch.begin()

    def on_step_end(
        self, args: Any, state: Any, control: Any, *, optimizer: Any = None, **_: Any
    ) -> None:
        """Look whether training changes anything."""
        last = state.global_step >= state.max_steps or control.should_training_stop
        self.watch.changed(optimizer=optimizer, last=last and not self.watch.stopping)

    def _write_counters(self, folder: Path) -> None:
        """Keep this process's running sums: what is logged after a resume is what it would be."""
        trainer = self._trainer
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(
            {
                "processes": trainer.args.world_size,
                "loss": trainer._tr_loss,
                "logged_at": trainer._globalstep_last_logged,
                "tokens": int(trainer._total_train_tokens),
                "metrics": {
                    mode: {name: list(values) for name, values in kept.items()}
                    for mode, kept in trainer._metrics.items()
                },
                "counters": dict(trainer.counters),
            },
            folder / _counters(trainer.args.process_index),
        )

    def _read_counters(self, folder: Path) -> None:
        trainer = self._trainer
        path = folder / _counters(trainer.args.process_index)
        if not path.is_file():
            path = folder / _counters(0)
            if not path.is_file():
                return  # written by transformers alone
        device = trainer.args.device
        # torch cannot restore to a processor with a number, which is what accelerate calls it
        place = "cpu" if device.type == "cpu" else device
        kept = torch.load(path, map_location=place, weights_only=True)
        trainer._total_train_tokens = kept["tokens"]
        if kept["processes"] != trainer.args.world_size:
            return  # sums of other shares of the rows
        trainer._tr_loss = kept["loss"]
        trainer._globalstep_last_logged = kept["logged_at"]
        for mode, values in kept["metrics"].items():
            trainer._metrics[mode].clear()
            trainer._metrics[mode].update(values)
        trainer.counters.update(kept["counters"])


def _counters(rank: int) -> str:
    return f"fin_qlora_rank{rank}.pt"
