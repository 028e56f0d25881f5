"""The folder of a checkpoint is whole or absent under its name, on whatever a save ends."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ...errors import DiskFullError, EnvironmentFault
from ...files import write_json
from .processes import on_any_process

if TYPE_CHECKING:
    from ..trainer import FinSFTTrainer

#: Beside transformers' own files in a checkpoint: what resuming and the evidence need to know.
NOTE = "fin_qlora_run.json"

#: In the output directory: where checkpoints are until they are whole.
STAGING = ".saving"

_STATE = "trainer_state.json"

_NAME = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-\d+")


def save_whole(
    trainer: FinSFTTrainer,
    write: Callable[[], None],
    *,
    run_dir: Path,
    note: dict[str, Any],
) -> Path:
    """Let all processes write a checkpoint into the staging folder, and rename it when it is whole.

    Args:
        write: writes this process's part into ``run_dir/.saving/checkpoint-STEP``.
        run_dir: where the checkpoint is to be.
        note: is written last, as JSON: a folder that has it is whole.

    Raises:
        DiskFullError: a process could not write; on all of them alike, as is any other error.
            The checkpoints before this one are as they were, and nothing of this one is left.
    """
    args, state = trainer.args, trainer.state
    name = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
    staged, final = run_dir / STAGING / name, run_dir / name
    keeps = trainer.is_local_process_zero()
    if keeps:
        shutil.rmtree(staged, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    with _failing_together(trainer, final), _without_waiting(state):
        write()
    _name_best(state, run_dir)
    with _failing_together(trainer, final):
        if args.should_save:
            state.save_to_json(str(staged / _STATE))
            _sync(staged)
            write_json(staged / NOTE, note)
    with _failing_together(trainer, final):
        # with a disk of its own, every machine has a folder; else the first one has renamed it
        if args.should_save and staged.is_dir():
            _put_in_place(staged, final)
    with _failing_together(trainer, final):
        if keeps and staged.is_dir():
            _put_in_place(staged, final)
    if args.should_save and args.save_total_limit:
        _rotate(final, limit=args.save_total_limit, best=state.best_model_checkpoint)
    return final


def checkpoints_in(folder: Path) -> list[Path]:
    """Return what is called like a checkpoint in a folder, in no order."""
    return [one for one in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if _NAME.fullmatch(one.name)]


def recover(run_dir: Path) -> None:
    """Give a checkpoint its name that was whole when the run was killed just before the renaming.

    Every process may do so at the same time.
    """
    for staged in checkpoints_in(run_dir / STAGING):
        final = run_dir / staged.name
        if (staged / NOTE).is_file() and not final.exists():
            # another process may be faster, or the system may not let us
            with contextlib.suppress(OSError):
                os.replace(staged, final)


def clean(run_dir: Path) -> None:
    """Remove what saves that did not come to their end have left."""
    recover(run_dir)
    shutil.rmtree(run_dir / STAGING, ignore_errors=True)


@contextlib.contextmanager
def _without_waiting(state: TrainerState) -> Iterator[None]:
    """Keep transformers from naming the best checkpoint, for which processes wait in mid-save."""
    best, state.best_global_step = state.best_global_step, None
    try:
        yield
    finally:
        state.best_global_step = best


def _name_best(state: TrainerState, run_dir: Path) -> None:
    """Name the best checkpoint where it is, or will be when this one has its name."""
    best = state.best_global_step
    if best:
        folder = run_dir / f"{PREFIX_CHECKPOINT_DIR}-{best}"
        if best == state.global_step or folder.exists():
            state.best_model_checkpoint = str(folder)


def _sync(folder: Path) -> None:
    """Have the system write all of a folder to its disk."""
    for entry in (*folder.rglob("*"), folder):
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rotate(newest: Path, *, limit: int, best: str | None) -> None:
    """Remove the oldest checkpoints beside ``newest`` until ``limit`` are left, never the best."""
    kept = {newest.name, Path(best).name if best else newest.name}
    others = [folder for folder in checkpoints_in(newest.parent) if folder.name not in kept]
    # by time, not by step: an earlier run may have gone further than this one
    others.sort(key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
    for folder in others[max(limit - len(kept), 0) :]:
        shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(staged: Path, final: Path) -> None:
    """Rename; an older checkpoint of that name is kept until the new one can take its place."""
    old = staged.with_name(f"old-{staged.name}")
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(final, old)
    os.replace(staged, final)
    shutil.rmtree(staged.parent, ignore_errors=True)
    descriptor = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _failing_together(trainer: FinSFTTrainer, final: Path) -> Iterator[None]:
    """Let all processes fail when one does, so that none waits for another."""
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        if trainer.is_deepspeed_enabled:
            # the others wait inside of DeepSpeed, and hear of it when this process ends
            shutil.rmtree(final.parent / STAGING, ignore_errors=True)
            raise _as_ours(error, final) from error
        failure = error
    (failed,) = on_any_process(torch.tensor([failure is not None], device=trainer.args.device))
    if not failed:
        return
    said = gather_object([None if failure is None else _as_ours(failure, final)])
    if trainer.is_local_process_zero():
        shutil.rmtree(final.parent / STAGING, ignore_errors=True)
    raise next(error for error in said if error is not None) from failure


def _as_ours(error: Exception, final: Path) -> EnvironmentFault:
    place = f"'{final}' could not be written"
    intact = "The checkpoints before it are as they were."
    if _is_full(error):
        return DiskFullError(
            f"The disk is full: {place}.",
            fix=f"{intact} Free some space, set save_total_limit, and resume.",
        )
    said = str(error).strip().splitlines() or ["no message"]
    return EnvironmentFault(
        f"The checkpoint {place}: {type(error).__name__}: {said[0].rstrip('.')}.", fix=intact
    )


def _is_full(error: BaseException | None) -> bool:
    if error is None:
        return False
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # torch tells of a failed write by the place in its own file, safetensors by the system's words
    said = str(error)
    return (
        "No space left on device" in said
        or ("PytorchStreamWriter" in said or "inline_container" in said)
        or _is_full(error.__context__)
    )
