"""A trainer of one's own leaves a folder that is loaded and checked like a recipe's."""

from __future__ import annotations

import json

import pytest
import torch

from fin_qlora import load_adapter
from fin_qlora.errors import UsageError
from fin_qlora.evidence import RECORD
from fin_qlora.models.base import weights_digest
from fin_qlora.training import record_adapter

from ..conftest import CONTRACT

UNSEEN = [
    {"text": f"Sales of unit {i} were flat", "label": CONTRACT.labels[i % 3]} for i in range(12)
]


def test_what_was_recorded_loads_and_answers_as_it_did(make, small_base, tmp_path):
    trainer = make(quantization="4bit", max_steps=8)
    trainer.train()
    folder = tmp_path / "mine"
    how = {"base": str(small_base), "quantization": "4bit"}
    record_adapter(trainer, folder, tasks={"mine": (CONTRACT, UNSEEN)}, **how)

    adapter = load_adapter(folder)  # replays a canary
    assert adapter.tasks == {"mine": CONTRACT}
    assert adapter.quantization == "4bit"
    record = json.loads((folder / RECORD).read_text("utf-8"))
    (task,) = record["tasks"]
    assert task["contract_digest"] == CONTRACT.digest
    assert record["base"]["digest"] == weights_digest(small_base)
    assert len(task["canaries"]) == 8
    assert [one["label"] for one in task["canaries"][:3]] == list(CONTRACT.labels)
    ids = torch.tensor([make.tokenizer("Shares rose.")["input_ids"]])
    with torch.no_grad():
        logits = [model.eval()(input_ids=ids).logits for model in (adapter.model, trainer.model)]
    assert torch.equal(*logits)
    for canary in task["canaries"]:
        (prediction,) = adapter.predict([canary["input"]["text"]])
        assert prediction.label == max(
            canary["adapter_scores"], key=canary["adapter_scores"].__getitem__
        )


@pytest.mark.parametrize(
    ("asked", "said"), [({}, "There is no task"), ({"a": (CONTRACT, [])}, "'a' has no row")]
)
def test_a_record_without_canaries_is_refused(make, small_base, tmp_path, asked, said):
    with pytest.raises(UsageError, match=said):
        record_adapter(
            make(), tmp_path / "mine", tasks=asked, base=str(small_base), quantization="none"
        )
    assert not (tmp_path / "mine").exists()


def test_a_folder_of_something_else_is_not_replaced(make, small_base, tmp_path):
    (tmp_path / "notes.txt").write_text("of the user")
    with pytest.raises(UsageError):
        record_adapter(
            make(),
            tmp_path,
            tasks={"mine": (CONTRACT, UNSEEN)},
            base=str(small_base),
            quantization="none",
        )
    assert (tmp_path / "notes.txt").exists()
