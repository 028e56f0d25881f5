"""The part ``inference`` of gpu.py: short questions to Llama 3.1 8B with the paper's adapter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from report import Row

if TYPE_CHECKING:
    import torch

    from fin_qlora.models.base import Quantization

#: Sides: how the base is held.
SIDES = ("none", "8bit", "4bit")
BATCH = 64
SEED = 0
#: Seconds a row that the paper reports for its inference in 8 bits.
PAPER_SECONDS = 0.1
LABELS, WHOLE, WRITTEN = "labels", "labels, prompts read whole", "written"
KINDS = (LABELS, WHOLE, WRITTEN)
RATE, SECONDS, PEAK = "rows", "time a row", "peak memory"
UNITS = {RATE: "rows/s", SECONDS: "s", PEAK: "GiB"}


@dataclass(frozen=True)
class Missing:
    """Why a kind of question has figures that are null."""

    kind: str
    why: str


def name_of(side: str) -> str:
    """Return the name of a side in the report."""
    return f"inference, 8b {'bf16' if side == 'none' else side}"


def unmeasured(side: str) -> list[Row]:
    """Return the figures of a side without values."""
    return [
        Row(name_of(side), f"{kind}: {figure}", unit, None)
        for kind in KINDS
        for figure, unit in UNITS.items()
    ]


def run(
    side: str, *, config: Any, adapter: Any, device: torch.device, toy: bool, seconds: float
) -> Iterator[Row | Missing]:
    """Make the base with its adapter, and yield what was measured of each kind of question.

    Rounds over all rows are repeated until ``seconds`` are over; the fastest counts.
    """
    import torch
    from peft import get_peft_model
    from random_base import random_base
    from training import news_rows

    from fin_qlora import tasks
    from fin_qlora.inference.generation import generate_answers
    from fin_qlora.inference.reading import beginning
    from fin_qlora.inference.scoring import label_log_likelihoods
    from fin_qlora.models.base import load_tokenizer
    from fin_qlora.models.tiny import tiny_base_path

    tokenizer = load_tokenizer(tiny_base_path())
    contract = tasks.get("fpb").contract()
    quantization = cast("Quantization", side)
    base = random_base(config, quantization=quantization, device=device, seed=SEED)
    model = get_peft_model(base, adapter)
    rows = news_rows(tokenizer, 8 if toy else 1024)

    def labels() -> Any:
        return label_log_likelihoods(model, tokenizer, contract, rows, batch_size=BATCH)

    def prompts_read_whole() -> Any:
        least = beginning.TOKENS
        beginning.TOKENS = 2**31
        try:
            return labels()
        finally:
            beginning.TOKENS = least

    def written() -> Any:
        return generate_answers(model, tokenizer, contract, rows, batch_size=BATCH)

    ask: dict[str, Callable[[], Any]] = dict(
        zip(KINDS, (labels, prompts_read_whole, written), strict=True)
    )
    on_gpu = device.type == "cuda"
    for kind, answer in ask.items():
        answer()  # what is made once does not count
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        until = time.monotonic() + seconds / len(ask)
        took: list[float] = []
        while not took or time.monotonic() < until:
            before = time.perf_counter()
            answer()
            took.append(time.perf_counter() - before)
            if toy:
                break
        values: dict[str, float | None] = {
            RATE: round(len(rows) / min(took), 2),
            SECONDS: round(min(took) / len(rows), 6),
            PEAK: round(torch.cuda.max_memory_allocated() / 2**30, 3) if on_gpu else None,
        }
        if not on_gpu:
            yield Missing(kind, "no CUDA GPU on this machine")
        for figure, value in values.items():
            yield Row(name_of(side), f"{kind}: {figure}", UNITS[figure], value)


def compared(rows: list[Row]) -> dict[str, float]:
    """Return how many times faster a row is than the paper says, where that was measured."""
    return {
        f"{row.side}, {row.figure}: the paper's {PAPER_SECONDS} s over it": round(
            PAPER_SECONDS / row.value, 2
        )
        for row in rows
        if row.side.startswith("inference, ") and row.figure.endswith(SECONDS) and row.value
    }
