"""Two pipeline stages against one process: label scoring on a processor, one thread a process.

    torchrun --nproc_per_node 2 benchmarks/pipeline_processes.py [--json FILE] [--rounds N]

The model has 22 million random weights in 12 layers, in bfloat16; rows are made-up headlines,
batches of 64 in 4 micro-batches. The whole model is asked by the first process while the other
waits, then both ask it in stages, in turns; a figure is the median of the rounds. The likeliest
label must be the same on every row. It needs two free cores.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from report import Row, report, table, write
from torch import distributed

ROWS, BATCH, MICRO_BATCHES, SEED = 512, 64, 4, 0
PACKAGES = "fin-qlora torch transformers bitsandbytes".split()
WHOLE, STAGED = "one process", "two stages"


def made_base(folder: Path) -> None:
    """Write a random base of 22 million weights with the tiny base's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from fin_qlora.models.base import load_tokenizer
    from fin_qlora.models.tiny import tiny_base_path

    torch.manual_seed(SEED)
    tokenizer = load_tokenizer(tiny_base_path())
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=12,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def made_rows(count: int) -> list[dict[str, str]]:
    """Return headlines of 8 to 40 words."""
    chosen = random.Random(SEED)
    words = "profit rose fell sales guidance quarter margin shares bank outlook demand".split()
    return [
        {"text": " ".join(chosen.choices(words, k=chosen.randint(8, 40)))} for _ in range(count)
    ]


def measure(folder: Path, *, rounds: int) -> list[Row]:
    """Ask both sides in turns; return their rates, on the first process."""
    from fin_qlora import tasks
    from fin_qlora.inference.pipeline import load_staged
    from fin_qlora.inference.scoring import label_log_likelihoods
    from fin_qlora.models.base import load_model

    contract, rows = tasks.get("tfns").contract(), made_rows(ROWS)
    staged = load_staged(folder, stages=2, micro_batches=MICRO_BATCHES)
    whole = load_model(folder, quantization="none") if staged.rank == 0 else None

    def asked(model: Any) -> list[dict[str, float]]:
        return label_log_likelihoods(model, staged.tokenizer, contract, rows, batch_size=BATCH)

    seconds: dict[str, list[float]] = {WHOLE: [], STAGED: []}
    found: dict[str, Any] = {}

    def timed(side: str, ask: Callable[[], Any]) -> None:
        distributed.barrier()
        before = time.perf_counter()
        found[side] = ask()
        seconds[side].append(time.perf_counter() - before)

    for _ in range(rounds + 1):  # the first does not count
        timed(WHOLE, lambda: None if whole is None else asked(whole))
        timed(STAGED, lambda: asked(staged))
    made = staged.report()
    if staged.rank == 0:
        check_equal(found[WHOLE], found[STAGED])
    staged.close()
    measured = [
        Row(side, "label scoring", "rows/s", round(ROWS / statistics.median(each[1:]), 2))
        for side, each in seconds.items()
    ]
    bubble = made.bubble
    return [
        *measured,
        Row(STAGED, "idle", "share", None if bubble is None else round(bubble, 4)),
    ]


def check_equal(one: list[dict[str, float]], other: list[dict[str, float]]) -> None:
    """Raise RuntimeError where two sides do not answer alike."""
    for row, (a, b) in enumerate(zip(one, other, strict=True)):
        if max(a, key=a.__getitem__) != max(b, key=b.__getitem__):
            raise RuntimeError(f"Row {row} is answered otherwise in stages: {a}, {b}.")


def main() -> None:
    """Measure, and on the first process print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    parser.add_argument("--rounds", type=int, default=5, help="times that each side is asked")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    first = distributed.get_rank() == 0
    with tempfile.TemporaryDirectory() as scratch:
        place = [scratch]
        if first:
            made_base(Path(scratch))
        distributed.broadcast_object_list(place)
        rows = measure(Path(place[0]), rounds=arguments.rounds)
    if first:
        rates = {row.side: row.measured for row in rows if row.unit == "rows/s"}
        ratios = {"two stages / one process": round(rates[STAGED] / rates[WHOLE], 3)}
        print(table(rows))
        print(ratios)
        if arguments.json:
            made = report("pipeline", rows, packages=PACKAGES, seed=SEED, ratios=ratios)
            write(arguments.json, made)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
