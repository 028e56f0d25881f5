"""Training, inference and memory of Llama 3.1 on one CUDA GPU, and plain TRL with liger beside it.

    python benchmarks/gpu.py [--quick] [--json FILE] [--parts A,B] [--sides A,B] [--budget_s N]
                             [--commit ID] [--toy]

The weights are random and nothing is downloaded: shapes are those of Llama 3.1, and a 70B base in 4
bits is made layer by layer, never whole in 16 bits. Speed and memory do not depend on what the
weights are; losses do, and are no figure here. Rows are random token ids over the whole vocabulary.

Parts:
- ``8b-4bit-r4``, ``8b-8bit-r8``, ``70b-4bit-r4``: training, with the paper's adapters (rank 4 or 8,
  alpha 32, dropout 0.1, on q, k and v). ``short`` rows are as long as sentiment questions on
  Financial PhraseBank, begin with the same 32 tokens and have answers of 2; ``long`` rows have
  2,000 tokens and answers of 8. Sides: ``fin_qlora`` (liger kernels, passes of up to 8,192 tokens,
  else its defaults), ``fin_qlora recomputing`` (with activation_checkpointing), ``trl`` (liger
  kernels, else its defaults, which recompute) and ``trl keeping`` (liger kernels, no
  checkpointing). --quick leaves out the last two. Without liger-kernel all run without, and TRL's
  side says so in its name.
- ``inference``: labels of short news scored and written with the paper's adapter on 8B in 16, 8 and
  4 bits, batches of 64; the ratios stand beside the paper's 0.1 s a row (gpu_inference.py).
- ``table-1``: memory of the weights in 16, 8 and 4 bits, 8B and 70B, beside what arithmetic says.

Examples and tokens (of whole rows, padding not counted) a second are medians over steps, the first
two left out, the optimizer included. Compare what one machine measured: a fast card waits for its
processor here, and that differs between machines of one kind. Model-FLOPs utilisation counts a
forward and a backward pass, the head where something is trained, and nothing that is recomputed,
for all sides alike; the peak is the maker's for dense bfloat16. Memory is the most that PyTorch's
allocator gave out in training; beside it stands what ``fin-qlora plan`` says of the longest rows.

Every side runs in a process of its own, and trains for about --budget_s seconds; what is measured
until then counts, and making the base does not. FILE is written after each. It keeps what was
measured before, with the machine, versions and commit of then (``runs``), until it is measured
again; ``not_measured`` says why a figure is null. A copy of the checkout without git is told its
commit with --commit. Without a GPU every figure is null. --toy runs the whole program on a
processor with tiny shapes, to test it.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gpu_inference
from report import Row, report, table, write

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig
    from transformers import PretrainedConfig

    from fin_qlora import FinSFTConfig
    from fin_qlora.models.base import Quantization

SEED = 0
WARM = 2
#: Tokens of one pass on our side: on a fast card a pass of fewer is over before the next is ready.
PASS = 8192
#: Seconds that a side may take besides training: imports, and making its base twice.
SETUP = 180
#: What is noted of where each group was measured.
SIGNED = ("machine", "versions", "commit")
PREFIX = 32
#: Tokens of whole rows: shares of the rows, and the lengths they stand at.
SENTIMENT = ((0.0, 45), (0.25, 70), (0.5, 82), (0.75, 97), (0.95, 127), (1.0, 182))
SIDES = ("fin_qlora", "trl", "fin_qlora recomputing", "trl keeping")
PACKAGES = "fin-qlora torch transformers trl peft accelerate bitsandbytes liger-kernel".split()


@dataclass(frozen=True)
class Reason:
    """Why a figure of a group (see ``group``) is null."""

    group: str
    why: str


@dataclass(frozen=True)
class Training:
    """A part that trains: which base, which adapter, and rows of a batch for each kind of row."""

    size: str
    quantization: Quantization
    rank: int
    batch: dict[str, int]


TRAINING = {
    "8b-4bit-r4": Training("8b", "4bit", 4, {"short": 16, "long": 2}),
    "8b-8bit-r8": Training("8b", "8bit", 8, {"short": 16, "long": 2}),
    "70b-4bit-r4": Training("70b", "4bit", 4, {"short": 4, "long": 1}),
}
TABLE_1: tuple[tuple[str, Quantization], ...] = (
    ("8b", "none"),
    ("8b", "8bit"),
    ("8b", "4bit"),
    ("70b", "8bit"),
    ("70b", "4bit"),
    ("70b", "none"),
)
INFERENCE = "inference"
PARTS = (*TRAINING, INFERENCE, "table-1")
STEPS, PLANNED, ARITHMETIC = "steps measured", "peak memory, planned", "weights, by arithmetic"
PEAK, UTILISATION = "peak memory", "model-FLOPs utilisation"
WITHOUT = " (without liger kernels)"
NO_GPU = "no CUDA GPU on this machine"
#: figure -> unit, of each kind of row
FIGURES = {
    "examples": "1/s",
    "tokens": "1/s",
    UTILISATION: "share",
    PEAK: "GiB",
    PLANNED: "GiB",
    STEPS: "steps",
}


# ------------------------------------------------------------------------------------- one side


def shape(size: str, *, toy: bool) -> PretrainedConfig:
    """Return the shape of Llama 3.1, or a tiny one of its kind."""
    from fin_qlora.models.architecture import llama_31

    small = {
        "vocab_size": 5000,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "head_dim": 16,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    return llama_31(size, **(small if toy else {}))


def rows_of(kind: str, *, count: int, vocabulary: int, toy: bool) -> list[dict[str, list[int]]]:
    """Return encoded rows of random ids; the same for all sides."""
    import random

    chosen = random.Random(f"{SEED} {kind}")
    low = 8  # below are ids that may be special
    prefix = [chosen.randrange(low, vocabulary) for _ in range(PREFIX)]
    rows = []
    for number in range(count):
        if kind == "short":
            length, answer = round(_at((number + 0.5) / count)), 2
        else:
            length, answer = (200 if toy else 2000), 8
        own = [chosen.randrange(low, vocabulary) for _ in range(length - PREFIX)]
        ids = prefix + own
        rows.append({"input_ids": ids, "labels": [-100] * (length - answer) + ids[-answer:]})
    chosen.shuffle(rows)
    return rows


def _at(share: float) -> float:
    for (low, short), (high, long) in itertools.pairwise(SENTIMENT):
        if share <= high:
            return short + (share - low) / (high - low) * (long - short)
    return float(SENTIMENT[-1][1])


def run_side(
    part: str, side: str, *, quick: bool, toy: bool, seconds: float
) -> Iterator[Row | Reason]:
    """Make the base, train on both kinds of rows, and yield what was measured of each."""
    import torch
    from random_base import random_base

    from fin_qlora.models.base import load_tokenizer
    from fin_qlora.models.tiny import tiny_base_path

    chosen = TRAINING[part]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = shape(chosen.size, toy=toy)
    tokenizer = load_tokenizer(tiny_base_path())
    for kind, batch in chosen.batch.items():
        # a fresh base for each: TRL changes what it is given
        model = random_base(config, quantization=chosen.quantization, device=device, seed=SEED)
        steps = steps_of(quick=quick, toy=toy)
        rows = rows_of(kind, count=batch * (steps + WARM), vocabulary=config.vocab_size, toy=toy)
        watch = make_watch(seconds=seconds / len(chosen.batch))
        trainer = make_trainer(
            side, model, rows, batch=batch, rank=chosen.rank, tokenizer=tokenizer
        )
        trainer.add_callback(watch)
        trainer.train()
        yield from figures(part, side, kind, watch, config=config, trainer=trainer, rows=rows)
        del trainer, model
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def steps_of(*, quick: bool, toy: bool) -> int:
    """Return how many steps are measured."""
    return 3 if toy else 10 if quick else 25


def common_settings(batch: int) -> dict[str, Any]:
    """Return the settings that all sides train with."""
    return {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": batch,
        "num_train_epochs": 1,
        "learning_rate": 1e-4,
        "bf16": True,
        "max_length": None,
        "logging_steps": 1000,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": SEED,
    }


def adapter_of(rank: int) -> LoraConfig:
    """Return the paper's adapter."""
    from peft import LoraConfig

    return LoraConfig(
        r=rank,
        lora_alpha=32,
        lora_dropout=0.1,
        target_modules=["q_proj", "k_proj", "v_proj"],
        task_type="CAUSAL_LM",
    )


def our_settings(side: str, *, batch: int) -> FinSFTConfig:
    """Return the settings of one of our own sides."""
    from fin_qlora import FinSFTConfig

    return FinSFTConfig(
        activation_checkpointing="recomputing" in side,
        max_tokens_per_pass=PASS,
        use_liger_kernel=has_liger(),
        **common_settings(batch),
    )


def make_trainer(
    side: str, model: Any, rows: Sequence[dict[str, list[int]]], *, batch: int, rank: int,
    tokenizer: Any,
) -> Any:  # fmt: skip
    """Return the side's trainer over the rows, one epoch of them."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from fin_qlora import FinSFTTrainer

    options: dict[str, Any] = {
        "model": model,
        "train_dataset": Dataset.from_list(list(rows)),
        "processing_class": tokenizer,
        "peft_config": adapter_of(rank),
    }
    if side.startswith("fin_qlora"):
        return FinSFTTrainer(args=our_settings(side, batch=batch), **options)
    common = common_settings(batch)
    common |= {} if model.device.type == "cuda" else {"use_cpu": True}
    if "keeping" in side:
        common["gradient_checkpointing"] = False
    return SFTTrainer(args=SFTConfig(use_liger_kernel=has_liger(), **common), **options)


def has_liger() -> bool:
    """Return whether liger kernels can run here."""
    import importlib.util

    import torch

    return torch.cuda.is_available() and importlib.util.find_spec("liger_kernel") is not None


def shown(part: str, side: str) -> str:
    """Return the name of a side in the report."""
    liger = not side.startswith("trl") or has_liger()
    return f"{part}, {side}" + ("" if liger else WITHOUT)


def make_watch(*, seconds: float) -> Any:
    """Return a callback that takes the time of each step, and ends training after some seconds."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.peak: int | None = None
            self._before = 0.0
            self._until = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._until = time.monotonic() + seconds
            if args.device.type == "cuda":
                import torch

                torch.cuda.reset_peak_memory_stats()

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._before = _now(args.device)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.seconds.append(_now(args.device) - self._before)
            if args.device.type == "cuda":
                import torch

                self.peak = torch.cuda.max_memory_allocated()
            if time.monotonic() > self._until:
                control.should_training_stop = True

    return Watch()


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def figures(
    part: str, side: str, kind: str, watch: Any, *, config: PretrainedConfig, trainer: Any,
    rows: Sequence[dict[str, list[int]]],
) -> Iterator[Row | Reason]:  # fmt: skip
    """Yield the rows of one kind of row on one side, and why one has no value."""
    import torch

    from fin_qlora.models.architecture import skeleton
    from fin_qlora.models.flops import Arithmetic

    name = shown(part, side)
    measured = watch.seconds[WARM:]
    batch = trainer.args.per_device_train_batch_size
    yield Row(name, f"{kind}: {STEPS}", FIGURES[STEPS], len(measured))
    values: dict[str, float | None] = dict.fromkeys(figures_of(side, planned=False))
    del values[STEPS]
    if measured:
        rate = batch / statistics.median(measured)
        lengths = [len(row["input_ids"]) for row in rows]
        tokens = sum(lengths) / len(lengths)
        arithmetic = Arithmetic.of(
            skeleton(config),
            adapter_parameters=sum(
                p.numel() for p in trainer.model.parameters() if p.requires_grad
            ),
        )
        work = arithmetic.training(
            tokens=sum(lengths),
            pairs=sum(n * (n + 1) // 2 for n in lengths),
            predictions=sum(label != -100 for row in rows for label in row["labels"]),
        )
        peak = peak_of(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
        values["examples"] = round(rate, 3)
        values["tokens"] = round(rate * tokens, 1)
        if peak is None:
            yield Reason(f"{name}, {kind}", "no peak is known of this device")
        else:
            values[UTILISATION] = round(rate * work / len(rows) / peak, 4)
    else:
        yield Reason(f"{name}, {kind}", f"{len(watch.seconds)} steps, and {WARM} do not count")
    if watch.peak is None:
        yield Reason(f"{name}, {kind}", NO_GPU)
    else:
        values[PEAK] = round(watch.peak / 2**30, 3)
    for figure, value in values.items():
        yield Row(name, f"{kind}: {figure}", FIGURES[figure], value)


def planned(part: str, side: str, *, toy: bool, steps: int) -> list[Row]:
    """Return what a plan says that a side of ours takes; of liger's kernels it knows nothing.

    They stay out of this process: once they are in place, a model without numbers cannot run.
    """
    from fin_qlora.training.plan import Lengths, Plan

    chosen = TRAINING[part]
    config = shape(chosen.size, toy=toy)
    found = []
    for kind, batch in chosen.batch.items():
        rows = rows_of(kind, count=batch * (steps + WARM), vocabulary=config.vocab_size, toy=toy)
        lengths = Lengths.of(
            [len(row["input_ids"]) for row in rows],
            answers=sum(label != -100 for row in rows for label in row["labels"]),
            source="the rows",
        )
        total = Plan(
            config=config,
            quantization=chosen.quantization,
            adapter=adapter_of(chosen.rank),
            training=our_settings(side, batch=batch),
            lengths=lengths,
        ).total()
        found.append(
            Row(shown(part, side), f"{kind}: {PLANNED}", FIGURES[PLANNED], round(total / 2**30, 4))
        )
    return found


def figures_of(side: str, *, planned: bool = True) -> list[str]:
    """Return the figures of a side: only our own runs are planned."""
    ours = planned and side.startswith("fin_qlora")
    return [one for one in FIGURES if one != PLANNED or ours]


def peak_of(device: str) -> float | None:
    """Return a card's peak in FLOP/s by what its driver calls it, None where it is not known.

    A card is one whose words are all in that name; of several it is the one with most words.
    """
    from fin_qlora.models.cards import CARDS

    def words(name: str) -> set[str]:
        return set(name.lower().replace("-", " ").split())

    fitting = [card for card in CARDS if words(card.name) <= words(device)]
    best = max(fitting, key=lambda card: len(words(card.name)), default=None)
    return None if best is None else best.tflops * 1e12


# ------------------------------------------------------------------------------------ the weights


def run_table_1(*, toy: bool, seconds: float) -> Iterator[Row | Reason]:
    """Make each base and yield what its weights take, beside what arithmetic says."""
    import torch
    from random_base import random_base

    from fin_qlora.models.architecture import skeleton
    from fin_qlora.models.memory import weight_memory

    until = time.monotonic() + seconds
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    for size, quantization in TABLE_1:
        config = shape(size, toy=toy)
        expected = weight_memory(skeleton(config, quantization=quantization), quantization).bytes
        name = f"table-1, {size} {quantization}"
        yield Row(name, ARITHMETIC, "GiB", round(expected / 2**30, 4))
        allocated = reserved = None
        room = torch.cuda.mem_get_info()[0] if gpu else 0
        if gpu and room < expected * 1.01:
            yield Reason(
                name, f"takes {expected / 2**30:.1f} GiB, and {room / 2**30:.1f} GiB are free"
            )
        elif time.monotonic() > until:
            yield Reason(name, f"the {seconds:g} s were over")
        else:
            model = random_base(config, quantization=quantization, device=device, seed=SEED)
            if gpu:
                torch.cuda.empty_cache()
                allocated = round(torch.cuda.memory_allocated() / 2**30, 4)
                reserved = round(torch.cuda.memory_reserved() / 2**30, 4)
            else:
                yield Reason(name, NO_GPU)
            del model
            gc.collect()
            if gpu:
                torch.cuda.empty_cache()
        yield Row(name, "weights, allocated", "GiB", allocated)
        yield Row(name, "weights, reserved", "GiB", reserved)


# ---------------------------------------------------------------------------------- the questions


def run_inference(side: str, *, toy: bool, seconds: float) -> Iterator[Row | Reason]:
    """Make the base, ask it, and yield what was measured of each kind of question."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for found in gpu_inference.run(
        side,
        config=shape("8b", toy=toy),
        adapter=adapter_of(8 if side == "8bit" else 4),
        device=device,
        toy=toy,
        seconds=seconds,
    ):
        if isinstance(found, Row):
            yield found
        else:
            yield Reason(f"{gpu_inference.name_of(side)}, {found.kind}", found.why)


# ------------------------------------------------------------------------------------ all of them


def sides_of(part: str, sides: Sequence[str]) -> Sequence[str]:
    """Return the sides that a part has."""
    if part == INFERENCE:
        return gpu_inference.SIDES
    return sides if part in TRAINING else ("weights",)


def unmeasured(part: str, side: str) -> list[Row]:
    """Return the figures of a side without values."""
    if part in TRAINING:
        return [
            Row(shown(part, side), f"{kind}: {figure}", FIGURES[figure], None)
            for kind in TRAINING[part].batch
            for figure in figures_of(side)
        ]
    if part == INFERENCE:
        return gpu_inference.unmeasured(side)
    return [
        Row(f"{part}, {size} {quantization}", f"weights, {kind}", "GiB", None)
        for size, quantization in TABLE_1
        for kind in ("by arithmetic", "allocated", "reserved")
    ]


def group(row: Row) -> str:
    """Return what is measured at once with a row: a side on one kind of row, or one base."""
    kind, colon, _ = row.figure.partition(": ")
    return f"{row.side}, {kind}" if colon else row.side


def in_a_process(
    part: str, side: str, arguments: argparse.Namespace
) -> tuple[list[Row], list[Reason], str]:
    """Return what a side measured in a process of its own, what not, and how it ended."""
    command = [sys.executable, __file__, "--child", part, side, "--budget_s"]
    command.append(str(arguments.budget_s))
    command += [flag for flag in ("--quick", "--toy") if getattr(arguments, flag[2:])]
    limit = arguments.budget_s * 1.25 + SETUP
    # what it prints counts also when it is ended: making a base cannot be interrupted inside
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err, text=True)
        try:
            code, ending = child.wait(timeout=limit), ""
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            code, ending = 0, f"ended after {limit:g} s"
        out.seek(0)
        err.seek(0)
        found = [json.loads(line) for line in out if line.startswith(('{"side"', '{"group"'))]
        if code:
            lines = [line.strip() for line in err if line.strip()]
            errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
            ending = f"exit code {code}: {([*lines, *errors] or ['no message'])[-1]}"
    rows = [Row(**one) for one in found if "side" in one]
    return rows, [Reason(**one) for one in found if "group" in one], ending


def compared(rows: Sequence[Row]) -> dict[str, float]:
    """Return speed and memory of fin_qlora over TRL, where both are known."""
    known = {
        (row.side.removesuffix(WITHOUT), row.figure): row.value
        for row in rows
        if row.value is not None
    }
    ratios = {}
    for part in TRAINING:
        for kind in TRAINING[part].batch:
            for figure in ("examples", "peak memory"):
                for ours, theirs in (
                    ("fin_qlora", "trl"),
                    ("fin_qlora", "trl keeping"),
                    ("fin_qlora recomputing", "trl"),
                ):
                    one = known.get((f"{part}, {ours}", f"{kind}: {figure}"))
                    two = known.get((f"{part}, {theirs}", f"{kind}: {figure}"))
                    if one and two:
                        name = f"{part}, {kind}: {figure}, {ours} over {theirs}"
                        ratios[name] = round(one / two, 3)
    return ratios | gpu_inference.compared(list(rows))


class Book:
    """All that is measured until now, with the machine, versions and commit of each group.

    Args:
        path: the report of an earlier run, which this one goes on with; it may not exist.
        name: the name of the report.
        commit: what is measured, where git cannot say it.
    """

    def __init__(self, path: Path | None, *, name: str, commit: str | None) -> None:
        found: dict[str, Any] = {}
        if path is not None and path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
        self._name, self._commit = name, commit
        self.rows = [Row(**row) for row in found.get("rows", ())]
        self._why: dict[str, str] = dict(found.get("not_measured", {}))
        self._runs: list[dict[str, Any]] = list(found.get("runs", ()))

    def add(self, rows: Sequence[Row], reasons: Sequence[Reason], *, otherwise: str) -> None:
        """Take what a side measured; a group of which it measured nothing stays as it was.

        Every null has a reason: the side's, or else ``otherwise``.
        """
        groups = {group(row): [one for one in rows if group(one) == group(row)] for row in rows}
        measured = {name for name, members in groups.items() if any(map(is_measured, members))}
        before = {group(row) for row in self.rows if is_measured(row)}
        new = {name for name in groups if name in measured or name not in before}
        self.rows = [row for row in self.rows if group(row) not in new]
        self.rows += [row for row in rows if group(row) in new]
        for name in sorted(new):
            self._why.pop(name, None)
            if any(row.value is None for row in groups[name]):
                own = [one.why for one in reasons if one.group == name]
                self._why[name] = "; ".join(dict.fromkeys(own)) or otherwise
        self._sign(sorted(measured))

    def _sign(self, groups: list[str]) -> None:
        """Note where these groups were measured, and no longer where they were before."""
        facts = {key: value for key, value in self._facts().items() if key in SIGNED}
        for one in self._runs:
            one["measured"] = [name for name in one["measured"] if name not in groups]
        same = [one for one in self._runs if all(one[key] == facts[key] for key in SIGNED)]
        if same:
            same[0]["measured"] += groups
        else:
            self._runs.append(facts | {"measured": groups})
        self._runs = [one for one in self._runs if one["measured"]]

    def _facts(self) -> dict[str, Any]:
        made = report(
            self._name, self.rows, packages=PACKAGES, seed=SEED, ratios=compared(self.rows)
        )
        return made | ({"commit": self._commit} if self._commit else {})

    def report(self) -> dict[str, Any]:
        """Return what FILE is to hold."""
        return self._facts() | {"not_measured": self._why, "runs": self._runs}


def is_measured(row: Row) -> bool:
    """Return whether a row has a value that was measured, and not computed or counted."""
    computed = row.figure == ARITHMETIC or row.figure.endswith((STEPS, PLANNED))
    return row.value is not None and not computed


def child(part: str, side: str, arguments: argparse.Namespace) -> None:
    """Measure one side, and print each row as soon as it is there."""
    from dataclasses import asdict

    from fin_qlora.offline import quiet_environment

    quiet_environment()
    toy, seconds = arguments.toy, arguments.budget_s
    found: Iterator[Row | Reason]
    if part in TRAINING:
        found = run_side(part, side, quick=arguments.quick, toy=toy, seconds=seconds)
    elif part == INFERENCE:
        found = run_inference(side, toy=toy, seconds=seconds)
    else:
        found = run_table_1(toy=toy, seconds=seconds)
    for row in found:
        print(json.dumps(asdict(row)), flush=True)


def main() -> None:
    """Measure, print the table and, where asked, write the JSON after every side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer steps, two sides")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--sides", help=f"some of: {', '.join(SIDES)}")
    parser.add_argument("--budget_s", type=float, default=120, help="seconds of training a side")
    parser.add_argument("--commit", metavar="ID", help="what is measured, where git cannot say")
    parser.add_argument("--toy", action="store_true", help="tiny shapes, also without a GPU")
    parser.add_argument("--child", nargs=2, metavar=("PART", "SIDE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        part, side = arguments.child
        child(part, side, arguments)
        return
    import torch

    parts = [part for part in arguments.parts.split(",") if part]
    sides = (arguments.sides or ",".join(SIDES[: 2 if arguments.quick else None])).split(",")
    for name, known in ((parts, PARTS), (sides, SIDES)):
        if wrong := [one for one in name if one not in known]:
            parser.error(f"there is no '{wrong[0]}'; known: {', '.join(known)}")
    possible = arguments.toy or torch.cuda.is_available()
    name = "gpu-toy" if arguments.toy else "gpu"
    book = Book(arguments.json, name=name, commit=arguments.commit)
    for part in parts:
        for side in sides_of(part, sides):
            if possible:
                new, reasons, ending = in_a_process(part, side, arguments)
            else:
                new, reasons, ending = [], [], NO_GPU
            if possible and part in TRAINING and side.startswith("fin_qlora"):
                steps = steps_of(quick=arguments.quick, toy=arguments.toy)
                new += planned(part, side, toy=arguments.toy, steps=steps)
            have = {(row.side, row.figure) for row in new}
            new += [row for row in unmeasured(part, side) if (row.side, row.figure) not in have]
            book.add(new, reasons, otherwise=ending or "its process did not say")
            print(table(new), flush=True)
            for line in (*(f"{one.group}: {one.why}" for one in reasons), ending):
                if line:
                    print(line, flush=True)
            if arguments.json:
                write(arguments.json, book.report())
    for name, value in compared(book.rows).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
