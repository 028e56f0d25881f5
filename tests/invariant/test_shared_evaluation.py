"""An evaluation that processes share gives what one process gives, row for row."""

from __future__ import annotations

import json

PROGRAM = """
import json, sys
from pathlib import Path
import torch
from accelerate import PartialState
from fin_qlora import tasks
from fin_qlora.evaluation import evaluate_rows
from fin_qlora.models.base import load_model, load_tokenizer

folder, base, rows = sys.argv[1:]
torch.set_num_threads(1)
state = PartialState(cpu=True)
tokenizer = load_tokenizer(Path(base))
task = tasks.get("tfns")
texts = [" ".join(["Shares rose"] * (1 + i * 7 % 13)) + f" {i}" for i in range(int(rows))]
made = [{"text": text, "label": task.label_names[i % 3]} for i, text in enumerate(texts)]
done = []
result = evaluate_rows(
    load_model(Path(base), quantization="none"), tokenizer, task.contract(), made,
    task=task.name, batch_size=4, progress=done.append, shared=True,
)
seen = {"rows": result.rows, "accuracy": result.scores.accuracy, "done": done}
Path(f"{folder}/{state.process_index}.json").write_text(json.dumps(seen))
state.destroy_process_group()
"""


def test_rows_scores_and_order_are_those_of_one_process(launch, small_base):
    for rows in (3, 30):  # fewer batches than processes, and a last batch that is not full
        alone = launch(PROGRAM, small_base, rows, profile="single")
        shared = launch(PROGRAM, small_base, rows, profile="cpu-ddp-2")
        (one,) = [json.loads(file.read_text("utf-8")) for file in alone.glob("*.json")]
        first, second = (json.loads((shared / f"{n}.json").read_text("utf-8")) for n in (0, 1))
        assert first["rows"] == second["rows"] == one["rows"]
        assert len(one["rows"]) == rows
        assert first["accuracy"] == one["accuracy"]
        assert max(first["done"]) <= rows
