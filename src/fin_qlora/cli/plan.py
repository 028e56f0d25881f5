"""``fin-qlora plan``: what a recipe will take before it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .flags import snake_case
from .output import HUMAN, OutputOption, table

if TYPE_CHECKING:
    from ..recipes.arguments import BaseArguments, RunArguments
    from ..training.evaluation_memory import EvaluationSettings
    from ..training.launched import Launched
    from ..training.plan import Lengths, Plan

_GIB = 2**30
#: Taken where neither rows nor lengths are given, so that there is a plan at all.
_STATED = "128,512,2048"
_ANSWER = 16
#: Table 1 of the paper: base -> bits -> what it calls GB.
_TABLE_1 = {
    "8b": {"none": 15.0, "8bit": 8.6, "4bit": 5.6},
    "70b": {"none": 131.5, "8bit": 68.5, "4bit": 37.8},
}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "plan",
        short_help="What a recipe will take: memory, steps, time, and whether it fits a GPU.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(plan)


def plan(
    context: typer.Context,
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A name of `fin-qlora recipes ls`.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with the files of the tasks.")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="A graphics card, such as 'RTX A6000'.")
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(min=1, help="How many of them; else as the profile says, or one."),
    ] = None,
    accelerate: Annotated[
        str | None,
        typer.Option(metavar="PROFILE", help="The profile that `train --accelerate` would get."),
    ] = None,
    lengths: Annotated[
        str | None,
        typer.Option(
            metavar="P50,P95,MAX", help="Lengths of rows in tokens, where the rows are not there."
        ),
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Training rows, where they are not there.")
    ] = None,
    utilisation: Annotated[
        float | None,
        typer.Option(min=0.01, max=1.0, help="Part of the card's peak that training reaches."),
    ] = None,
    table_1: Annotated[
        bool, typer.Option("--table-1", help="The weights of the paper's Table 1, beside ours.")
    ] = False,
    output: OutputOption = HUMAN,
) -> None:
    """Print what a recipe will take; no weights are read. Every further flag is the recipe's.

    Memory is arithmetic over the shapes of the model, time is an estimate. Exit code 1 when the run
    does not fit the GPU.

    Example: fin-qlora plan classification/tfns-8b-4bit-r4 --data-dir DATA --gpu L40S --gpus 4
    """
    if table_1:
        if recipe is not None:
            raise UsageError("--table-1 takes no recipe.", fix="Give one of them.")
        found = _table_1()
        output.result(found, human=_table_1_text(found), quiet="")
        return
    if recipe is None:
        raise UsageError("No recipe is named.", fix="See `fin-qlora recipes ls`, or --table-1.")
    from ..models.cards import card
    from ..training.plan import UTILISATION

    chosen = card(gpu) if gpu is not None else None
    made, name = _plan(
        ["--config", recipe, *map(snake_case, context.args)],
        data_dir=data_dir,
        stated=_stated(lengths, rows),
        launched=_launched(accelerate, gpus),
        utilisation=utilisation or UTILISATION,
    )
    report = {"recipe": recipe, "base": name, **made.report(chosen)}
    fits = report.get("gpu", {}).get("fits", True)
    output.result(
        report,
        human=_text(made, report),
        quiet=str(report["total"]) if chosen is None else "fits" if fits else "does not fit",
    )
    if not fits:
        raise typer.Exit(1)


def _launched(profile: str | None, gpus: int | None) -> Launched:
    from ..recipes.profiles import read_profile
    from ..training.launched import Launched

    found = Launched() if profile is None else read_profile(profile)
    return found if gpus is None else dataclasses.replace(found, processes=gpus)


def _stated(lengths: str | None, rows: int | None) -> tuple[list[int], int | None, bool]:
    """Return lengths and rows to plan with, and whether the user stated any of them."""
    try:
        numbers = [int(part) for part in (lengths or _STATED).split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 3:
        raise UsageError(f"--lengths is '{lengths}'.", fix="Write P50,P95,MAX, such as 60,90,300.")
    return numbers, rows, lengths is not None or rows is not None


def _plan(
    arguments: Sequence[str],
    *,
    data_dir: Path | None,
    stated: tuple[list[int], int | None, bool],
    launched: Launched,
    utilisation: float,
) -> tuple[Plan, str]:
    from trl import get_peft_config

    from ..models.architecture import architecture
    from ..recipes.arguments import parse
    from ..training.plan import Plan

    settings, training, base = parse(list(arguments), launched=launched)
    if data_dir is not None:
        settings = dataclasses.replace(settings, data_dir=str(data_dir))
    name = str(base.model_name_or_path)
    adapter = get_peft_config(base)
    if adapter is None:
        raise UsageError("The recipe trains no adapter.", fix="Set use_peft: true.")
    found = Plan(
        config=architecture(name, revision=base.model_revision),
        quantization=base.quantization,
        adapter=adapter,
        training=training,
        lengths=_lengths(settings, base, stated, max_length=training.max_length),
        attention=base.attn_implementation,
        processes=launched.processes,
        fsdp=launched.fsdp,
        evaluation=_evaluation(settings),
        utilisation=utilisation,
    )
    return found, name


def _evaluation(settings: RunArguments) -> EvaluationSettings:
    """Return how the recipe's tasks are evaluated; their tokenizer is not needed."""
    from ..prompts import ANSWER_TOKENS
    from ..tasks import get
    from ..training.evaluation_memory import EvaluationSettings

    contracts = [get(name).contract(settings.form) for name in settings.task_names]
    free = [one for one in contracts if one.grammar != "label"]
    return EvaluationSettings(
        batch_size=settings.evaluation_batch_size,
        labels=max(len(one.labels) for one in contracts),
        room=max((one.answer_tokens or ANSWER_TOKENS[one.grammar] for one in free), default=0),
    )


def _lengths(
    settings: RunArguments,
    base: BaseArguments,
    stated: tuple[list[int], int | None, bool],
    *,
    max_length: int | None,
) -> Lengths:
    """Return the lengths of the rows, encoded where they are at hand."""
    from ..tasks import get
    from ..training.plan import Lengths

    numbers, rows, named = stated
    tasks = [get(name) for name in settings.task_names]
    if named or not (settings.data_dir or all(task.synthetic for task in tasks)):
        source = "stated" if named else "assumed, for neither --data-dir nor --lengths is given"
        source += f"; answers of {_ANSWER} tokens assumed"
        if max_length is not None and max(numbers) > max_length:
            if named and settings.on_overlong == "raise":
                raise UsageError(
                    f"The recipe's max_length is {max_length}, but --lengths names rows of "
                    f"{max(numbers)} tokens.",
                    fix=f"Add --max_length {max(numbers)}, or --on_overlong shorten_or_drop.",
                )
            numbers = [min(number, max_length) for number in numbers]
            source += f"; none above max_length, {max_length}"
        median, p95, longest = numbers
        return Lengths.stated(median, p95, longest, rows=rows, answer=_ANSWER, source=source)
    from ..data.encode import shared_beginning
    from ..data.encode_cache import EncodedCache
    from ..models.tiny import TINY_ID
    from ..training.checks.preflight import run_preflight

    tokenizer, revision = _tokenizer(base)
    checked = run_preflight(
        [(task, task.contract(settings.form)) for task in tasks],
        base=tokenizer,
        base_revision=revision,
        data_dir=Path(settings.data_dir) if settings.data_dir else None,
        synthetic_seed=settings.synthetic_seed,
        max_length=max_length,
        on_overlong=settings.on_overlong,
        shots=settings.shots,
        shots_seed=settings.shots_seed,
        evaluation_rows=settings.evaluation_rows,
        cache=EncodedCache(),
        weights=False,
    )
    source = "the encoded rows"
    if tokenizer == TINY_ID != base.model_name_or_path:
        source += (
            ", by the tokenizer of the embedded tiny base, for the base's own is not at hand: its "
            "tokens are shorter, so these are more"
        )
    return Lengths.of(
        [int(length) for one in checked.tasks for length in one.encoded.lengths],
        answers=sum(one.encoded.trained_tokens for one in checked.tasks),
        shared=shared_beginning([one.encoded for one in checked.tasks]),
        source=source,
    )


def _tokenizer(base: BaseArguments) -> tuple[str, str | None]:
    """Return the base whose tokenizer can be had: its own, else that of the embedded one."""
    from ..errors import HubError, MissingFileError
    from ..models.base import locate_base
    from ..models.tiny import TINY_ID

    name = str(base.model_name_or_path)
    try:
        locate_base(name, revision=base.model_revision, weights=False)
    except (HubError, MissingFileError):
        return TINY_ID, None
    return name, base.model_revision


# Texts.


def _text(made: Plan, report: dict[str, Any]) -> str:
    blocks = [_head(made, report), _memory(made, report), "\n".join(_work(made, report))]
    if "gpu" in report:
        blocks.append("\n".join(_fit(made, report["gpu"])))
    return "\n\n".join(blocks)


def _head(made: Plan, report: dict[str, Any]) -> str:
    weights, adapter, lora = made.weights, made.adapter_memory, made.adapter
    kind = "DoRA" if getattr(lora, "use_dora", False) else "LoRA"
    kind = f"rank-stabilised {kind}" if getattr(lora, "use_rslora", False) else kind
    chosen = getattr(lora, "target_modules", None) or []
    targets = chosen if isinstance(chosen, str) else ", ".join(sorted(chosen))
    quantised = (
        f"{weights.quantized:,} in {weights.layers} quantised layers ({made.quantization})"
        if weights.layers
        else "none quantised"
    )
    return (
        f"{report['base']}: {weights.parameters:,} parameters, {quantised}\n"
        f"{kind} of rank {getattr(lora, 'r', '?')} on {targets}: {adapter.parameters:,} trained; "
        f"its file {adapter.file_bytes / 2**20:.2f} MiB"
    )


def _memory(made: Plan, report: dict[str, Any]) -> str:
    lines = [
        ("weights", made.weight_bytes, ""),
        ("adapter", made.adapter_bytes, str(made.adapter_dtype).removeprefix("torch.")),
        ("its gradients", made.gradient_bytes, made.sharding.name if made.processes > 1 else ""),
        ("optimizer", made.optimizer_bytes, made.optimizer + _replaced(made)),
    ]
    if made.gathered():
        lines.append(("one layer, gathered", made.gathered(), made.sharding.name))
    again = "recomputed layer by layer" if made.training.activation_checkpointing else ""
    rows = made.training.per_device_train_batch_size
    for (name, length), step in zip(
        made.lengths.percentiles().items(), report["activations"].values(), strict=True
    ):
        what = f"{rows} rows of {length:,} tokens"
        if made.limit is not None and rows * length > made.limit and rows > 1:
            at_once = f"{max(made.limit, length):,} tokens"
            what += f", {at_once if made.folds else max(made.limit // length, 1)} at once"
        lines.append((f"activations, {name}", step["peak"], ", ".join(filter(None, (what, again)))))
    evaluated = made.evaluation_memory
    if evaluated is not None:
        what = f"{evaluated.rows} rows of {evaluated.length:,} tokens"
        if evaluated.cache:
            what += f", keys and values {evaluated.cache / _GIB:.2f}"
        lines.append(("evaluation", evaluated.peak, what))
    largest = "in evaluation" if made.evaluation_peak > made.peak() else "in training"
    lines.append(("most at once", report["total"], largest))
    return table(
        ("ON ONE GPU", "GiB", ""), [(name, f"{b / _GIB:8.3f}", why) for name, b, why in lines]
    )


def _replaced(made: Plan) -> str:
    if made.optimizer == "zero_one_adam" and made.processes == 1:
        return " needs two GPUs or more; AdamW is counted"
    return ""


def _work(made: Plan, report: dict[str, Any]) -> list[str]:
    found = made.lengths
    alike = f", the first {found.shared:,} the same in all" if found.shared else ""
    lines = [
        f"rows of {found.median:,} (median), {found.p95:,} (95 %), {found.longest:,} (longest) "
        f"tokens{alike}: {found.source}"
    ]
    if found.rows:
        batch = made.batch
        lines += [
            f"{found.rows:,} rows; global batch {batch.whole} = {batch.per_device} rows x "
            f"{batch.processes} GPUs x {batch.accumulation} accumulated; {batch.steps:,} steps",
            f"{made.tokens:,} tokens read, {made.flops / 1e15:,.1f} PFLOP",
        ]
    else:
        lines.append("steps and time need the rows: --data-dir, or --rows")
    return lines


def _fit(made: Plan, gpu: dict[str, Any]) -> list[str]:
    name, usable, whole = gpu["name"], gpu["usable"] / _GIB, gpu["memory_mib"] / 1024
    verdict = "fits" if gpu["fits"] else "DOES NOT FIT"
    lines = [
        f"{verdict} {'an' if name[0] in 'AHLR' else 'a'} {name}: {made.total() / _GIB:.2f} of "
        f"{usable:.2f} GiB that a plan may fill ({whole:.2f} GiB less 5 % and 1 GiB for "
        "the driver, libraries and fragmentation, which is an assumption)"
    ]
    largest = gpu["largest_micro_batch"]
    if largest is not None:
        lines.append(
            f"largest micro batch that fits with the same global batch: {largest} "
            f"{'row' if largest == 1 else 'rows'} (--per_device_train_batch_size {largest})"
        )
    if not gpu["fits"]:
        lines += _remedies(made, gpu)
    if gpu["estimated_seconds"] is not None:
        lines.append(
            f"about {_duration(gpu['estimated_seconds'])} of training: an estimate, "
            f"{gpu['assumed_utilisation']:.0%} of {gpu['peak_tflops']:g} TFLOP/s (bfloat16, dense) "
            "on each card assumed; loading and evaluation not counted"
        )
    return lines


def _remedies(made: Plan, gpu: dict[str, Any]) -> list[str]:
    lines = []
    less = gpu["total_with_activation_checkpointing"]
    if less is not None and less < made.total():
        lines.append(f"with activation_checkpointing: true it takes {less / _GIB:.2f} GiB")
    evaluates_most = made.held < gpu["usable"] and made.evaluation_peak > made.peak()
    if made.evaluation is not None and evaluates_most:
        size = made.evaluation.batch_size
        lines.append(f"evaluation takes the most: less than --evaluation_batch_size {size} helps")
    if made.sharding.stage < 3 and made.quantization.startswith("4bit"):
        lines.append(
            "every card holds the whole base: --accelerate gpu-zero3-4 and gpu-fsdp-4 share a "
            "4-bit one out, with AdamW"
        )
    return lines


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _table_1() -> dict[str, Any]:
    from ..models.architecture import llama_31, skeleton
    from ..models.base import Quantization
    from ..models.memory import weight_memory

    kinds: list[Quantization] = ["none", "8bit", "4bit", "4bit-single"]
    found = []
    for size, paper in _TABLE_1.items():
        for kind in kinds:
            ours = weight_memory(skeleton(llama_31(size), quantization=kind), kind)
            found.append(
                {
                    "base": f"Llama 3.1 {size.upper()}",
                    "quantization": kind,
                    "bytes": ours.bytes,
                    "gib": round(ours.bytes / _GIB, 2),
                    "paper_gb": paper.get(kind),
                }
            )
    return {"table_1": found}


def _table_1_text(found: dict[str, Any]) -> str:
    rows = [
        (
            each["base"],
            each["quantization"],
            f"{each['gib']:.2f}",
            "" if each["paper_gb"] is None else f"{each['paper_gb']:.1f}",
            "" if each["paper_gb"] is None else f"{each['gib'] / each['paper_gb'] - 1:+.1%}",
        )
        for each in found["table_1"]
    ]
    return (
        table(
            ("BASE", "WEIGHTS", "GiB", "PAPER", ""),
            rows,
            title="Memory of the weights: exact, from their shapes; and Table 1 of the paper",
        )
        + "\n\n4bit is NF4 with double quantisation. The paper says GB and means GiB: its 16-bit "
        "figures are those of GiB.\nIt measured on GPUs; what it has above ours at 4 and 8 bits "
        "is not explained by the weights."
    )
