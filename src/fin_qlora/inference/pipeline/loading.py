"""Loading one stage of a base or adapter on each process of a launch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from ...errors import MemoryShortError, MissingFileError, UsageError
from ...models.architecture import skeleton
from ...models.base import Quantization, load_tokenizer, locate_base
from ...models.checkpoint import check_stored
from ...models.repository import fetch
from ...models.stage import load_stage
from ...models.tiny import TINY_ID
from ..adapters.folder import AdapterFolder, read_adapter, refuse_remote_code
from .adapter import attach_to_stage
from .launch import Launch
from .splitting import named, split
from .stage import Stage
from .staged import StagedModel

#: Most seconds that one stage waits for another.
TIMEOUT = 1800.0


def load_staged(
    reference: str | Path,
    *,
    stages: int,
    quantization: Literal["auto"] | Quantization = "auto",
    revision: str | None = None,
    micro_batches: int | None = None,
    timeout: float = TIMEOUT,
) -> StagedModel:
    """Load a base or adapter in stages, one a process; each process holds its own layers only.

    Run it in every process of ``torchrun --nproc_per_node STAGES``. States travel by NCCL between
    GPUs, by gloo between processors.

    Args:
        reference: a base or adapter, as a folder or hub id.
        quantization: ``auto`` is as an adapter was trained, and 16 bits for a base.
        revision: branch, tag or commit of its repository.
        micro_batches: how many parts a batch is cut into; None is twice the stages.
        timeout: seconds that a stage waits for another before it gives up.

    Raises:
        UsageError: there are not as many processes as stages, more stages than layers, or the base
            is not Llama-like.
        MissingFileError, DataError: the base's files lack a tensor.
        AdapterMismatchError: another base, or tensors that do not fit it.
        MemoryShortError: a stage does not fit its device.
        ProcessLostError: another process has ended.
    """
    if micro_batches is not None and micro_batches < 1:
        raise UsageError(f"micro_batches is {micro_batches}.", fix="Use at least 1.")
    launch = Launch.of_this_process(stages=stages, timeout=timeout)
    try:
        with launch.lost_is_an_error():
            return _loaded(
                launch,
                str(reference),
                quantization=quantization,
                revision=revision,
                micro_batches=micro_batches or 2 * stages,
            )
    except BaseException:
        launch.close()
        raise


def _loaded(
    launch: Launch,
    reference: str,
    *,
    quantization: Literal["auto"] | Quantization,
    revision: str | None,
    micro_batches: int,
) -> StagedModel:
    from transformers import AutoConfig

    adapter = launch.first_of_machine(lambda: _adapter(reference, revision))
    if adapter is None:
        folder, base = launch.first_of_machine(lambda: locate_base(reference, revision=revision))
        refuse_remote_code(folder, name=reference)
        commit, trained_in = base.revision, None
    else:
        folder, base, commit = adapter.base_folder, adapter.base, adapter.commit
        trained_in = adapter.trained_in
    used: Quantization = (trained_in or "none") if quantization == "auto" else quantization
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    where = split(config, stages=launch.stages, quantization=used)
    span = where.spans[launch.rank]

    def part() -> Any:
        check_stored(folder, skeleton(config))
        try:
            return load_stage(folder, span, config=config, quantization=used, device=launch.device)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise MemoryShortError(
                f"Stage {launch.rank} ({named(span)}) does not fit into the memory of its device.",
                fix="Use more stages, or load the base in 4 bits.",
            ) from error

    model: Any = launch.together(part)
    generation_config = model.generation_config
    if adapter is not None:
        model = attach_to_stage(model, adapter.folder, launch=launch)
    return StagedModel(
        Stage(model, span=span, device=launch.device, wire=launch.wire),
        launch=launch,
        split=where,
        config=config,
        generation_config=generation_config,
        tokenizer=load_tokenizer(folder if adapter is None else adapter.folder),
        tasks={} if adapter is None else adapter.tasks,
        base=base,
        revision=commit,
        quantization=used,
        micro_batches=micro_batches,
    )


def _adapter(reference: str, revision: str | None) -> AdapterFolder | None:
    """Return the adapter of that name, or None where it is a base."""
    if reference == TINY_ID:
        return None
    try:
        fetch(reference, revision=revision, needs="adapter_config.json", weights=False)
    except MissingFileError:
        return None
    return read_adapter(reference, revision=revision)
