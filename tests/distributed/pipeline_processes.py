"""One process that asks models in stages: pipeline_processes.py FOLDER CASES.

CASES is a JSON file of names and cases. What this rank found goes to FOLDER/NAME/RANK.json; the
first rank also asks the whole model there, as ``whole``. A case with ``dies`` ends its second rank
in the middle of scoring.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import core_model_loading

from fin_qlora import load_adapter, tasks
from fin_qlora.errors import FinQloraError
from fin_qlora.inference.generation import generate_answers
from fin_qlora.inference.pipeline import StagedModel, load_staged
from fin_qlora.inference.scoring import label_log_likelihoods
from fin_qlora.models.base import load_model, load_tokenizer

TEXTS = ("Shares rose.", "No change, and much more to read than in the others.", "x", "Profit fell")
ROWS = [{"text": f"{TEXTS[n % 4]} {n}"} for n in range(11)]
QUESTIONS = [{"text": f"<a>{n}</a>" * (n + 1), "question": "What is a?"} for n in range(7)]

read = 0


def count_what_is_read() -> None:
    """Count the bytes of the tensors that transformers takes from files."""
    take = core_model_loading._materialize_copy

    def counted(tensor: Any, *arguments: Any, **options: Any) -> torch.Tensor:
        global read
        found: torch.Tensor = take(tensor, *arguments, **options)
        read += found.nbytes
        return found

    core_model_loading._materialize_copy = counted


def asked(model: Any, tokenizer: Any, *, batch_size: int) -> dict[str, Any]:
    contract, value = tasks.get("tfns").contract(), tasks.get("xbrl_value").contract()
    kept: list[int] = []
    found = {
        "scores": label_log_likelihoods(
            model,
            tokenizer,
            contract,
            ROWS,
            batch_size=batch_size,
            keep=lambda rows, _: kept.extend(rows),
        ),
        "one": label_log_likelihoods(model, tokenizer, contract, ROWS[:1]),
        "written": [
            [one.text, one.finished]
            for one in generate_answers(model, tokenizer, value, QUESTIONS, batch_size=batch_size)
        ],
    }
    return {**found, "kept": sorted(kept)}


def one_case(case: dict[str, Any]) -> dict[str, Any]:
    global read
    read = 0
    reference, quantization = case["reference"], case.get("quantization", "none")
    precise = case.get("precise", False)
    with load_staged(
        reference,
        stages=case["stages"],
        quantization=quantization,
        micro_batches=case.get("micro_batches"),
        timeout=30,
    ) as staged:
        if precise:
            staged._stage.model.float()
        if case.get("dies"):
            die_in_the_middle(staged)
        found = {"read": read, "lines": staged.split.lines()}
        found |= asked(staged, staged.tokenizer, batch_size=4)
        report = staged.report()
        found |= {"report": report.to_dict(), "told": report.lines()}
        found["after"] = staged.report().to_dict()["bubble"]
    if staged.rank == 0:
        if (Path(reference) / "adapter_config.json").is_file():
            adapter = load_adapter(reference, quantization=quantization, verify=False)
            model, tokenizer = adapter.model, adapter.tokenizer
        else:
            folder = Path(reference)
            model = load_model(folder, quantization=quantization)
            tokenizer = load_tokenizer(folder)
        model.float() if precise else None
        found["whole"] = asked(model, tokenizer, batch_size=4)
    return found


def die_in_the_middle(staged: StagedModel) -> None:
    stage, calls = staged._stage, []
    states = stage.states

    def last_words(*arguments: Any, **options: Any) -> torch.Tensor:
        calls.append(1)
        if staged.rank == 1 and len(calls) == 3:
            os._exit(9)
        return states(*arguments, **options)

    stage.states = last_words


def main(folder: Path, cases: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    count_what_is_read()
    found: dict[str, Any]
    named = json.loads(cases.read_text(encoding="utf-8"))
    rank = int(os.environ["RANK"])
    if not any(case.get("dies") for case in named.values()):
        torch.distributed.init_process_group("gloo")
    for name, case in named.items():
        try:
            found = one_case(case)
        except FinQloraError as error:
            found = {"error": type(error).__name__, "said": str(error)}
        (folder / name).mkdir(exist_ok=True)
        (folder / name / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
