"""DeepSpeed configurations: found by name, checked for what DeepSpeed would accept and get wrong.

What it knows follows DeepSpeed 0.19.8.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from ...errors import (
    EnvironmentFault,
    MissingDependencyError,
    UnknownNameError,
    UsageError,
)
from ...files import shipped

#: Top-level keys that DeepSpeed reads; others it passes over without a word.
KNOWN = frozenset(
    """
    activation_checkpointing aio autotuning bf16 checkpoint comms_logger
    communication_data_type compile data_types dataloader_drop_last datastates_ckpt
    disable_allgather disable_python_gc dump_state flops_profiler fp16
    gradient_accumulation_steps gradient_allreduce_op gradient_clipping
    gradient_predivide_factor log_level managed_gradient_accumulation memory_breakdown
    optimizer prescale_gradients seq_parallel_communication_data_type steps_per_print timers
    train_batch_size train_micro_batch_size_per_gpu use_data_before_expert_parallelism
    vocabulary_size wall_clock_breakdown weight_quantization zero_allow_untested_optimizer
    zero_force_ds_cpu_optimizer zero_optimization
    """.split()
)

_REMOVED = "DeepSpeed has removed it."
_TRACKER = "Name the tracker in report_to: what leaves this machine is said in one place."

#: Keys that DeepSpeed no longer knows, or that do harm here -> why, and what instead.
REFUSED = {
    "amp": f"{_REMOVED} Use bf16.",
    "compression_training": f"{_REMOVED} The base is quantised by load_in_4bit or load_in_8bit.",
    "curriculum_learning": f"{_REMOVED} Rows are drawn as train_sampling_strategy says.",
    "eigenvalue": _REMOVED,
    "elasticity": f"{_REMOVED} Launch with the processes that there are.",
    "graph_harvesting": _REMOVED,
    "nebula": f"{_REMOVED} Checkpoints are written as save_strategy says.",
    "progressive_layer_drop": _REMOVED,
    "quantize_training": f"{_REMOVED} The base is quantised by load_in_4bit or load_in_8bit.",
    "sparse_attention": f"{_REMOVED} Choose attn_implementation.",
    "sparse_gradients": _REMOVED,
    "data_efficiency": "Rows are drawn as train_sampling_strategy says.",
    "scheduler": "It would silently take the place of lr_scheduler_type; set that one.",
    "hybrid_engine": "It is for generation during training, which is not done here.",
    "pipeline": "Layers are not shared out over processes here.",
    "expert_parallel": "The models here have no experts.",
    "tensor_parallel": "Quantised layers cannot be cut; use ZeRO stage 3.",
    "sequence_parallel_size": "Sequences are not shared out over processes here.",
    "torch_autocast": "Use bf16: the precision is said once.",
    "tensorboard": _TRACKER,
    "wandb": _TRACKER,
    "comet": _TRACKER,
    "csv_monitor": _TRACKER,
    "bfloat16": "Write bf16, the only name that transformers reads.",
}

#: The same inside of ``zero_optimization``.
_REFUSED_ZERO = {
    "mics_shard_size": _REMOVED,
    "mics_hierarchical_params_gather": _REMOVED,
    "zeropp_loco_param": _REMOVED,
    "cpu_offload": "Write offload_optimizer.",
    "cpu_offload_param": "Write offload_param.",
    "cpu_offload_use_pin_memory": "Write pin_memory under offload_optimizer.",
    "stage3_gather_fp16_weights_on_model_save": "Write stage3_gather_16bit_weights_on_model_save.",
}

_REMOVED_OPTIMIZERS = ("onebitadam", "onebitlamb")

#: Parameters of the former ZeroOneAdam -> our setting. The others name what transformers fills in.
_ZERO_ONE = {
    "var_freeze_step": "zero_one_var_freeze_step",
    "var_update_scaler": "zero_one_var_update_scaler",
    "local_step_scaler": "zero_one_local_step_scaler",
    "local_step_clipper": "zero_one_local_step_clipper",
    "bias_correction": "zero_one_bias_correction",
}
_COMMON = {
    "lr": "learning_rate",
    "betas": "adam_beta1 and adam_beta2",
    "eps": "adam_epsilon",
    "weight_decay": "weight_decay",
}

#: Filled from the training arguments wherever a file leaves them out. DeepSpeed would not start
#: without the first, and clips at 1.0 without the last.
_FILLED = (
    "train_micro_batch_size_per_gpu",
    "train_batch_size",
    "gradient_accumulation_steps",
    "gradient_clipping",
)


def configuration(given: Any, *, described: bool = False) -> dict[str, Any] | None:
    """Return a DeepSpeed configuration, checked, for a shipped name, a path, JSON or a mapping.

    With ``described`` nothing is going to run: where DeepSpeed is not installed it is
    read unchecked.

    Raises:
        UnknownNameError: no shipped configuration, file or key has that name.
        UsageError: it is no JSON object, or asks for what DeepSpeed would get wrong.
        MissingDependencyError: DeepSpeed is not installed.
    """
    if not given:
        return None
    found, place = _read(given)
    if importlib.util.find_spec("deepspeed") is not None:
        check(found, place=place)
    elif not described:
        raise MissingDependencyError(
            "DeepSpeed is not installed.", fix="Install 'fin-qlora[deepspeed]', or train without."
        )
    for key in _FILLED:
        found.setdefault(key, "auto")
    found.setdefault("zero_optimization", {"stage": 0})
    return found


def _read(given: Any) -> tuple[dict[str, Any], str]:
    if isinstance(given, Mapping):
        return deepcopy(dict(given)), "deepspeed"
    text, place = str(given), "deepspeed"
    if not text.lstrip().startswith("{"):
        path = Path(text)
        if not path.is_file():
            folder = shipped("ds_configs")
            names = [file.stem for file in folder.glob("*.json")]
            if text not in names:
                raise UnknownNameError("DeepSpeed configuration", text, names)
            path = folder / f"{text}.json"
        text, place = path.read_text(encoding="utf-8"), f"'{path.name}'"
    try:
        found = json.loads(text, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        raise UsageError(f"{place} is no JSON: {error}.", fix="Mend the file.") from error
    if not isinstance(found, dict):
        raise UsageError(f"{place} is no JSON object.", fix='Write {"bf16": …}.')
    return found, place


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"The key '{double}' stands twice in one object.", fix="Keep one.")
    return found


def check(settings: Mapping[str, Any], *, place: str = "deepspeed") -> None:
    """Refuse what DeepSpeed does not know, and what it would accept and get wrong.

    Raises UnknownNameError or UsageError that names the key.
    """
    _check_keys(settings, KNOWN, REFUSED, place)
    _check_sections(settings, place)
    zero = _section(settings, "zero_optimization", place)
    stage = zero.get("stage", 0)
    if stage not in (0, 1, 2, 3):
        raise UsageError(
            f"{place} sets zero_optimization.stage to {stage!r}.", fix="Use 0, 1, 2 or 3."
        )
    _check_offloading(zero, stage, place)
    _check_precision(settings, stage, place)
    _check_optimizer(settings, stage, place)
    if settings.get("gradient_allreduce_op", "mean") != "mean":
        raise UsageError(
            f"{place} sets gradient_allreduce_op to {settings['gradient_allreduce_op']!r}: the "
            "loss is already scaled for a mean.",
            fix="Leave it out.",
        )


def _check_keys(
    given: Mapping[str, Any], known: Iterable[str], refused: Mapping[str, str], place: str
) -> None:
    for key in given:
        if key in refused:
            raise UsageError(f"{place} sets '{key}'.", fix=refused[key])
        if key not in known:
            raise UnknownNameError(f"DeepSpeed key in {place}", key, known)


def _section(settings: Mapping[str, Any], name: str, place: str) -> Mapping[str, Any]:
    found = settings.get(name, {})
    if not isinstance(found, Mapping):
        raise UsageError(f"{place}: '{name}' is {found!r}.", fix="Make it a JSON object.")
    return found


def _check_sections(settings: Mapping[str, Any], place: str) -> None:
    """Check the keys of the sections whose keys DeepSpeed declares."""
    from deepspeed.runtime.precision_config import DeepSpeedBF16Config, DeepSpeedFP16Config
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
    from deepspeed.runtime.zero.offload_config import (
        DeepSpeedZeroOffloadOptimizerConfig,
        DeepSpeedZeroOffloadParamConfig,
    )

    zero = _section(settings, "zero_optimization", place)
    where = f"{place}, zero_optimization"
    for section, kind, name in (
        (_section(settings, "bf16", place), DeepSpeedBF16Config, f"{place}, bf16"),
        (_section(settings, "fp16", place), DeepSpeedFP16Config, f"{place}, fp16"),
        (zero, DeepSpeedZeroConfig, where),
        (
            _section(zero, "offload_optimizer", where),
            DeepSpeedZeroOffloadOptimizerConfig,
            f"{where}.offload_optimizer",
        ),
        (
            _section(zero, "offload_param", where),
            DeepSpeedZeroOffloadParamConfig,
            f"{where}.offload_param",
        ),
    ):
        known = {one.alias or key for key, one in kind.model_fields.items()}
        _check_keys(section, known, _REFUSED_ZERO, name)


def _check_offloading(zero: Mapping[str, Any], stage: int, place: str) -> None:
    for key, least in (("offload_optimizer", 1), ("offload_param", 3)):
        device = zero.get(key, {}).get("device", "none")
        if device != "none" and stage < least:
            raise UsageError(
                f"{place} sets {key} with ZeRO stage {stage}, which would not do it.",
                fix=f"Use stage {least} or above, or leave {key} out.",
            )
        if device == "nvme" and not zero[key].get("nvme_path"):
            raise UsageError(f"{place} sets {key} to nvme without nvme_path.", fix="Set both.")
    ignored = [key for key in zero if key.startswith("stage3_")]
    if ignored and stage != 3:
        raise UsageError(
            f"{place} sets '{ignored[0]}' with ZeRO stage {stage}, which passes over it.",
            fix="Leave it out, or use stage 3.",
        )


def _check_precision(settings: Mapping[str, Any], stage: int, place: str) -> None:
    half = _half(settings, place)
    if len(half) == 2:
        raise UsageError(f"{place} enables bf16 and fp16.", fix="Enable one of them.")
    kept = _section(settings, "data_types", place).get("grad_accum_dtype")
    if stage == 0 and half and kept not in (None, *half):
        raise UsageError(
            f"{place} accumulates gradients in {kept} with {half[0]} and without ZeRO, which "
            "DeepSpeed cannot.",
            fix="Leave data_types.grad_accum_dtype out, or use ZeRO stage 1.",
        )
    if half == ["fp16"] and not torch.accelerator.is_available():
        raise EnvironmentFault(
            f"{place} computes in fp16, which DeepSpeed does only on a GPU.",
            fix="Use its bf16 twin.",
        )


def _half(settings: Mapping[str, Any], place: str) -> list[str]:
    """Return the precisions of 16 bits that are enabled; "auto" is not known yet."""
    return [
        name
        for name in ("bf16", "fp16")
        if _section(settings, name, place).get("enabled", False) not in (False, None, "auto")
    ]


def _check_optimizer(settings: Mapping[str, Any], stage: int, place: str) -> None:
    if "optimizer" not in settings:
        return
    section = _section(settings, "optimizer", place)
    _check_keys(section, ("type", "params", "legacy_fusion"), {}, f"{place}, optimizer")
    kind = str(section.get("type", ""))
    params = _section(section, "params", f"{place}, optimizer")
    where = f"{place}, optimizer.params"
    if "max_grad_norm" in params:
        raise UsageError(
            f"{where} sets 'max_grad_norm', which DeepSpeed passes over.",
            fix="Use gradient_clipping.",
        )
    if kind == "ZeroOneAdam":
        _check_zero_one(settings, params, stage, place)
        return
    if kind.lower() in _REMOVED_OPTIMIZERS:
        raise UsageError(
            f"{place} asks for {kind}, which DeepSpeed has removed.", fix="Use ZeroOneAdam."
        )
    from deepspeed.runtime.config import DEEPSPEED_OPTIMIZERS

    if kind.lower() not in DEEPSPEED_OPTIMIZERS and not hasattr(torch.optim, kind):
        raise UnknownNameError(
            f"optimizer in {place}", kind, ["AdamW", "ZeroOneAdam", *DEEPSPEED_OPTIMIZERS]
        )
    if kind.lower() in ("adam", "adamw"):
        known = (*_COMMON, "torch_adam", "adam_w_mode", "bias_correction", "fp32_optimizer_states")
        _check_keys(params, (*known, "amsgrad", "set_grad_none", "fused", "foreach"), {}, where)
    if stage == 0 and _half(settings, place):
        _refuse_first_step(kind, place)


def _refuse_first_step(kind: str, place: str) -> None:
    raise UsageError(
        f"{place} uses {kind} in 16 bits without ZeRO: DeepSpeed would step once on zero "
        "gradients before the first batch, and the first true step would be a quarter too "
        "short.",
        fix="Use ZeRO stage 1, or no DeepSpeed: DDP does the same there.",
    )


def _check_zero_one(
    settings: Mapping[str, Any], params: Mapping[str, Any], stage: int, place: str
) -> None:
    if stage:
        raise UsageError(
            f"{place} uses ZeroOneAdam with ZeRO stage {stage}, where a process has only a share "
            "of the optimizer's state.",
            fix="Use stage 0, or AdamW.",
        )
    clipping = settings.get("gradient_clipping", "auto")
    if clipping not in ("auto", 0, 0.0):
        raise UsageError(
            f"{place} sets gradient_clipping with ZeroOneAdam: DeepSpeed would clip each process's "
            "gradient by that process's own norm.",
            fix='Write "auto", and set max_grad_norm: 0/1 Adam clips by the norm of the average.',
        )
    gone = "It said how bits are sent; torch.distributed does that now, with any backend."
    _check_keys(
        params,
        (*_COMMON, *_ZERO_ONE),
        {"cuda_aware": gone, "comm_backend_name": gone},
        f"{place}, optimizer.params",
    )


def take_zero_one(settings: dict[str, Any], args: Any) -> bool:
    """Take the section of a ZeroOneAdam out of a configuration, and its values into ``args``.

    DeepSpeed no longer has that optimizer; ours is handed to it. Returns whether there was one.

    Raises UsageError where the section and ``args`` contradict each other.
    """
    section = settings.get("optimizer", {})
    if section.get("type") != "ZeroOneAdam":
        return False
    del settings["optimizer"]
    params = section.get("params", {})
    for key, value in params.items():
        name = _ZERO_ONE.get(key)
        if value == "auto":
            continue
        if name is not None:
            default = type(args).__dataclass_fields__[name].default
            if getattr(args, name) not in (default, value):
                _contradiction(f"optimizer.params.{key}", value, name, getattr(args, name))
            setattr(args, name, value)
            continue
        ours = {
            "lr": args.learning_rate,
            "betas": [args.adam_beta1, args.adam_beta2],
            "eps": args.adam_epsilon,
            "weight_decay": args.weight_decay,
        }[key]
        if value != ours:
            _contradiction(f"optimizer.params.{key}", value, _COMMON[key], ours)
    return True


def check_filled(args: Any) -> None:
    """Check a configuration again when every "auto" in it has the value of the training arguments.

    Raises UsageError where the two contradict each other (transformers would say so too, but only
    after the model is loaded), and what ``check`` raises for precision and optimizer.
    """
    found = getattr(args, "hf_deepspeed_config", None)
    if found is None:
        return
    if found.mismatches:
        first = found.mismatches[0].removeprefix("- ds ")
        key, _, rest = first.partition("=")
        value, _, ours = rest.partition(" vs hf ")
        name, _, own = ours.partition("=")
        _contradiction(key, value, name, own)
    settings = {  # accelerate enables what is not named
        **found.config,
        **{
            name: {**_section(found.config, name, "deepspeed"), "enabled": True}
            for name in ("bf16", "fp16")
            if getattr(args, name)
        },
    }
    stage = settings.get("zero_optimization", {}).get("stage", 0)
    _check_precision(settings, stage, "deepspeed")
    _check_optimizer(settings, stage, "deepspeed")
    if (
        stage == 0
        and "optimizer" not in settings
        and str(args.optim) != "zero_one_adam"
        and _half(settings, "deepspeed")
    ):
        _refuse_first_step(f"optim '{getattr(args.optim, 'value', args.optim)}'", "deepspeed")


def _contradiction(key: str, value: Any, name: str, own: Any) -> None:
    raise UsageError(
        f"The DeepSpeed configuration sets {key} to {value}, but {name} is {own}.",
        fix=f'Write "auto" for {key}.',
    )


def join_processes(settings: Mapping[str, Any], *, on_gpu: bool, timeout: float) -> None:
    """Let the processes find one another before ZeRO stage 3 shares a model out over them.

    transformers would do so only after the model is loaded, and DeepSpeed would take each process
    for the only one.

    Args:
        on_gpu: whether they are to compute on a GPU where there is one.
        timeout: seconds that a process waits for the others.
    """
    stage = settings.get("zero_optimization", {}).get("stage", 0)
    if (
        stage == 3
        and int(os.environ.get("WORLD_SIZE", "1")) > 1
        and not torch.distributed.is_initialized()
    ):
        import deepspeed

        on_gpu = on_gpu and torch.accelerator.is_available()
        deepspeed.init_distributed(
            "nccl" if on_gpu else "gloo", timeout=datetime.timedelta(seconds=timeout)
        )
