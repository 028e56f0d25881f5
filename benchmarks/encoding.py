"""How many TFNS rows a second become ids and mask: row by row, in batches, from the cache.

    python benchmarks/encoding.py --data_dir DIR [--quick] [--json FILE]

DIR holds ``tfns/sent_train.csv``. A side is the whole way from rows to Arrow columns of ids with
their masks, the checks included; reading the file is not. Figures are medians; before they are
taken, the ids of the three sides are compared, every one. ``tokenizer alone`` is the bare
tokenizer over the same prompts, for scale: batches may be faster, since what all prompts begin
with is tokenised once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from report import Row, report, table, write

from fin_qlora import tasks
from fin_qlora.data.encode import encode_rows
from fin_qlora.data.encode_cache import EncodedCache
from fin_qlora.data.table import read_split
from fin_qlora.models.base import load_tokenizer
from fin_qlora.models.tiny import tiny_base_path
from fin_qlora.prompts import Form, PromptContract
from fin_qlora.prompts.tokens import tokenise

FORMS: tuple[Form, ...] = ("plain", "chat")
TARGET = 20_000


def rate(work: Callable[[], object], *, rows: int, repeats: int) -> float:
    """Return rows a second, the median of some runs after one that is not counted."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return round(rows / statistics.median(seconds))


def check(rows: Sequence[Any], contract: PromptContract, tokenizer: Any, folder: Path) -> None:
    """Stop when one id differs between the sides."""
    cache = EncodedCache(folder)
    sides = [
        encode_rows(rows, contract=contract, tokenizer=tokenizer, max_length=None, cache=used)
        for used in (None, cache, cache)
    ]
    alone = [contract.encode(tokenizer, row, row["label"]) for row in rows]
    if any(side.examples != alone for side in sides):
        sys.exit("The ids differ between row by row, batches and cache.")


def main() -> None:
    """Measure, print the table and, where asked, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data_dir", "--data-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="3 runs each, not 9")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    arguments = parser.parse_args()
    repeats = 3 if arguments.quick else 9

    tokenizer = load_tokenizer(tiny_base_path())
    task = tasks.get("tfns")
    rows = read_split(task, "train", data_dir=arguments.data_dir).rows
    few = rows[:1000]
    cores = sorted(os.sched_getaffinity(0))
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        cache = EncodedCache(Path(folder))
        for form in FORMS:
            contract = task.contract(form)
            check(rows, contract, tokenizer, Path(folder))

            def encode(used: EncodedCache | None, contract: PromptContract = contract) -> object:
                return encode_rows(
                    rows, contract=contract, tokenizer=tokenizer, max_length=None, cache=used
                )

            def alone(contract: PromptContract = contract) -> object:
                return [contract.encode(tokenizer, row, row["label"]) for row in few]

            texts = [contract.prompt_text(row) for row in rows]

            def bare(texts: list[str] = texts) -> object:
                return tokenise(tokenizer, texts)

            figure = f"{form} prompts"
            sides: list[tuple[str, Callable[[], object], int]] = [
                ("row by row", alone, len(few)),
                ("batched", lambda: encode(None), len(rows)),
                ("cached", lambda: encode(cache), len(rows)),
            ]
            if form == "plain":
                sides.append(("tokenizer alone", bare, len(rows)))
            for side, work, count in sides:
                value = rate(work, rows=count, repeats=repeats)
                measured.append(Row(side, figure, "rows/s", value))

    print(f"{len(rows):,} rows, {len(cores)} cores")
    print(table(measured))
    batched = next(row.measured for row in measured if row.side == "batched")
    print(f"target {TARGET:,} rows/s: {'reached' if batched >= TARGET else 'missed'}")
    if arguments.json:
        packages = ("fin-qlora", "transformers", "tokenizers", "pyarrow")
        ratios = {
            "batched over row by row": round(batched / measured[0].measured, 2),
            "batched over target": round(batched / TARGET, 2),
        }
        write(arguments.json, report("encoding", measured, packages=packages, ratios=ratios))


if __name__ == "__main__":
    main()
