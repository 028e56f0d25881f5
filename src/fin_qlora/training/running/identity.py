"""What a run must have in common with the checkpoint that it goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import CheckpointMismatchError, DataError
from ..batches.data_digest import data_digest
from ..batches.row_order import order_of

if TYPE_CHECKING:
    from ..trainer import FinSFTTrainer

#: Settings by which rows are drawn.
_ORDER = (
    "train_sampling_strategy",
    "share_prefix",
    "task_sampling",
    "task_sampling_temperature",
    "task_weights",
    "data_seed",
    "dataloader_drop_last",
)
#: Settings of the optimizer; a checkpoint brings its own of most, so that others would be ignored.
_OPTIMIZER = (
    "optim",
    "optim_args",
    "learning_rate",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "adapter_dtype",
)
_LORA = (
    "peft_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "layers_to_transform",
    "rank_pattern",
    "alpha_pattern",
    "use_rslora",
    "use_dora",
    "bias",
    "modules_to_save",
)


def identity_of(trainer: FinSFTTrainer) -> dict[str, Any]:
    """Return, as JSON values, what a checkpoint and the run that goes on from it must share."""
    args = trainer.args
    stage = _zero_stage(args)
    optimizer = {name: _plain(getattr(args, name)) for name in _OPTIMIZER}
    optimizer |= {
        one.name: _plain(getattr(args, one.name))
        for one in fields(args)
        if one.name.startswith("zero_one_")
    }
    return {
        "origin": dict(sorted(trainer.origin.items())),
        "data": data_digest(trainer.train_dataset),
        "order": {name: _plain(getattr(args, name, None)) for name in _ORDER}
        | {"order": order_of(trainer)},
        "seed": args.seed,
        "batch": {
            "whole": args.train_batch_size * args.world_size * args.gradient_accumulation_steps,
            "micro": args.train_batch_size,
            "processes": args.world_size,
            "accumulation": args.gradient_accumulation_steps,
        },
        "lora": _lora(trainer.model),
        "optimizer": optimizer | {"deepspeed_zero_stage": stage},
    }


def require_same_on_all(identity: Mapping[str, Any], *, all_of_them: list[Any]) -> None:
    """Refuse to train processes together that differ in anything but their number.

    Args:
        identity: of this process.
        all_of_them: those of all processes by rank, this one's included.

    Raises DataError on every process alike.
    """
    first = all_of_them[0]
    for rank, other in enumerate(all_of_them):
        for part, value in first.items():
            # the rows themselves are compared by data_digest.require_same_data
            if part != "data" and other[part] != value:
                raise DataError(
                    f"The processes differ: rank {rank} has {_NAMES[part]} other than rank 0's.",
                    fix="Give all of them the same files, settings and version of fin-qlora.",
                )


def require_same_run(kept: Mapping[str, Any], now: Mapping[str, Any], *, folder: Path) -> None:
    """Refuse to go on from a checkpoint of another run.

    One global batch may be cut into micro-batches and processes in another way, where the
    optimizer keeps nothing of its own on each process.

    Raises CheckpointMismatchError, whose sentence says what differs.
    """
    place = f"'{folder}'"
    for name in sorted({*kept["origin"], *now["origin"]}):
        was, has = kept["origin"].get(name), now["origin"].get(name)
        if was is not None and has is not None and was != has:
            _refuse(f"{name[:1].upper()}{name[1:]} has changed since {place}: {was} before, {has}.")
    if kept["data"] != now["data"]:
        _refuse(
            f"The training rows are not those of {place}: their digest was "
            f"{_short(kept['data'])} and is {_short(now['data'])}."
        )
    was, has = kept["batch"], now["batch"]
    if was["whole"] != has["whole"]:
        _refuse(
            f"The global batch of {place} is {_cut(was)}; this run's is {_cut(has)}.",
            fix="Cut the same global batch: set gradient_accumulation_steps, or global_batch_size.",
        )
    for part, what in (("lora", "The adapter"), ("optimizer", "The optimizer")):
        differing = _first_difference(kept[part] or {}, now[part] or {})
        if differing:
            name, before, after = differing
            _refuse(f"{what} of {place} has {name}={before}, this run {name}={after}.")
    alone = _kept_on_each_process(now["optimizer"])
    if alone and was["processes"] != has["processes"]:
        _refuse(
            f"{place} is of {was['processes']} processes, this run has {has['processes']}: {alone} "
            "keeps a part of its state on each.",
            fix=f"Start {was['processes']} processes.",
        )
    if kept["seed"] != now["seed"]:
        _refuse(f"The seed of {place} is {kept['seed']}, this run's is {now['seed']}.")
    differing = _first_difference(kept["order"], now["order"])
    if differing:
        name, before, after = differing
        _refuse(f"The rows of {place} were drawn with {name}={before}, now it is {after}.")


_NAMES = {
    "origin": "a base or a prompt contract",
    "order": "an order of rows",
    "seed": "a seed",
    "batch": "a batch",
    "lora": "an adapter",
    "optimizer": "an optimizer",
}


def _refuse(sentence: str, fix: str = "") -> None:
    raise CheckpointMismatchError(
        sentence,
        fix=fix or "Resume with what it was trained with, or train from the start elsewhere.",
    )


def _first_difference(
    kept: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[str, Any, Any] | None:
    for name in now:  # what a person sets comes before what follows from it
        if name in kept and kept[name] != now[name]:
            return name, kept[name], now[name]
    odd = sorted(kept.keys() ^ now.keys())
    return (odd[0], kept.get(odd[0]), now.get(odd[0])) if odd else None


def _kept_on_each_process(optimizer: Mapping[str, Any]) -> str | None:
    """Return the name of what makes a checkpoint fit one number of processes alone."""
    if optimizer["optim"] == "zero_one_adam":
        return "0/1 Adam"
    stage = optimizer["deepspeed_zero_stage"]
    return f"ZeRO stage {stage}" if stage else None


def _zero_stage(args: Any) -> int | None:
    """Return DeepSpeed's ZeRO stage, None without DeepSpeed."""
    if args.deepspeed is None:
        return None
    return int(args.hf_deepspeed_config.config.get("zero_optimization", {}).get("stage", 0))


def _lora(model: Any) -> dict[str, Any] | None:
    adapters = getattr(model, "peft_config", None)
    if not adapters:
        return None
    adapter = adapters[model.active_adapter]
    return {name: _plain(getattr(adapter, name, None)) for name in _LORA}


def _plain(value: Any) -> Any:
    """Return a setting as the JSON value that it is read back as."""
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(getattr(value, "value", value))


def _cut(batch: Mapping[str, int]) -> str:
    return (
        f"{batch['whole']} rows ({batch['micro']} x {batch['processes']} processes x "
        f"{batch['accumulation']} accumulated)"
    )


def _short(digest: Any) -> str:
    return str(digest)[:12]
