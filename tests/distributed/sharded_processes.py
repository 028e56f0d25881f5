"""One process that asks a model shared out by FSDP: sharded_processes.py FOLDER BASE.

What this rank found, whole and shared out, goes to FOLDER/RANK.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp import fully_shard

from fin_qlora import tasks
from fin_qlora.evaluation.asking import LIKELIHOOD, ask_rows
from fin_qlora.inference.generation import generate_answers
from fin_qlora.inference.likelihood import mean_log_likelihood
from fin_qlora.inference.probabilities import probabilities
from fin_qlora.inference.scoring import score_labels
from fin_qlora.models.base import load_model, load_tokenizer
from fin_qlora.models.lora import in_stored_precision, stored_weights
from fin_qlora.models.sharded import askable, is_sharded

LORA = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
ROWS = [
    {"text": "Shares rose."},
    {"text": "No change, and much more to read."},
    {"text": "x"},
    {"text": "y"},
    {"text": "z up"},
]


def main(folder: Path, base: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    torch.manual_seed(0)
    tokenizer, model = load_tokenizer(base), load_model(base, quantization="none", sharded=True)
    model = get_peft_model(model, LORA, autocast_adapter_dtype=False)

    def asked() -> dict:
        contract, value = tasks.get("tfns").contract(), tasks.get("xbrl_value").contract()
        row = {"text": "<a>12</a>", "question": "What is a?"}
        weights = stored_weights(model)
        with askable(model):
            told = ask_rows(
                LIKELIHOOD,
                model,
                tokenizer,
                contract,
                dict(enumerate(ROWS)),
                batch_size=2,
                shared=True,
            )
            found = {"tuned": [probabilities(one.result) for one in told.values()]}
            found["likely"] = mean_log_likelihood(model, tokenizer, value, row, "12")
            found["written"] = generate_answers(model, tokenizer, value, [row])[0].text
            with model.disable_adapter():
                found["base"] = score_labels(model, tokenizer, contract, ROWS)
        return {**found, "weights": weights, "sharded": is_sharded(model)}

    whole = asked()
    for layer in model.get_base_model().model.layers:
        fully_shard(layer)
    fully_shard(model)
    ids = torch.tensor([[1, 2, 3]])
    model(input_ids=ids, labels=ids).loss.backward()  # as training does
    in_stored_precision(model)
    rank = torch.distributed.get_rank()
    torch.save({"whole": whole, "shared": asked()}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
