"""An adapter loads as it was trained, or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from fin_qlora import load_adapter, tasks
from fin_qlora.errors import AdapterMismatchError, MissingFileError
from fin_qlora.evidence import verify_files, write_manifest
from fin_qlora.models.base import load_model
from fin_qlora.models.lora import WEIGHTS
from fin_qlora.training.result.adapter_folder import FinishedRun

TASK = tasks.get("tfns")
ROWS = [("up", "1"), ("down", "0"), ("flat", "2"), ("higher", "1"), ("lower", "0"), ("same", "2")]


@pytest.fixture(scope="module")
def finished(run_on, tmp_path_factory) -> tuple[FinishedRun, Path]:
    """A run of a few steps, and the folder that it left."""
    work = tmp_path_factory.mktemp("run")
    data = work / "tfns"
    data.mkdir()
    lines = "".join(f"{text} {i},{label}\n" for i in range(4) for text, label in ROWS)
    (data / "sent_train.csv").write_text(f"text,label\n{lines}", encoding="utf-8")
    test = "".join(f"unseen {text},{label}\n" for text, label in ROWS)
    (data / "sent_valid.csv").write_text(f"text,label\n{test}", encoding="utf-8")
    return run_on("tfns", data_dir=work), work / "adapter"


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    copy = tmp_path / "adapter"
    shutil.copytree(finished[1], copy)
    return copy


def change(path: Path, **values) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | values), encoding="utf-8")


def write_weights(folder: Path, make) -> None:
    """Change the weights, and the manifest with them, as one would who covers his tracks."""
    stored = load_file(folder / WEIGHTS)
    save_file(make(stored), folder / WEIGHTS, {"format": "pt"})
    sign(folder)


def sign(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    write_manifest(folder, manifest)


def test_it_predicts_what_the_trained_model_did(finished):
    run, folder = finished
    adapter = load_adapter(folder)
    _, tuned = run.evaluations["tfns"]
    expected = [row["scores"] for row in tuned.rows]
    predictions = adapter.predict([row["text"] for row in tuned.rows])
    for prediction, scores in zip(predictions, expected, strict=True):
        assert list(prediction.scores.values()) == pytest.approx(list(scores.values()), abs=0.02)
        assert prediction.label == max(prediction.scores, key=prediction.scores.__getitem__)
        assert prediction.score == prediction.scores[prediction.label]
        assert sum(prediction.scores.values()) == pytest.approx(1)
    assert adapter.task == "tfns"
    assert adapter.contract == TASK.contract()
    assert adapter.tasks == {"tfns": TASK.contract()}


def test_plain_peft_gives_the_trained_models_logits(finished, small_base, tokenizer):
    run, folder = finished
    ids = torch.tensor([tokenizer("Shares rose.")["input_ids"]])
    plain = PeftModel.from_pretrained(load_model(small_base, quantization="4bit"), str(folder))
    trained = run.model.eval()
    plain.eval()
    with torch.no_grad():
        assert torch.equal(plain(input_ids=ids).logits, trained(input_ids=ids).logits)


def test_the_folder_is_a_repository_without_pickles(finished):
    run, folder = finished
    names = {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}
    assert {"adapter_config.json", WEIGHTS, "fin_qlora.json", "manifest.json"} <= names
    assert {"eval/tfns-base.parquet", "eval/tfns-adapter.parquet", "tokenizer.json"} <= names
    assert not [n for n in names if n.endswith((".bin", ".pt", ".pkl"))]
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == run.preflight.base.id
    assert config["target_modules"] == ["q_proj", "v_proj"]
    stored = load_file(folder / WEIGHTS)
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    assert verify_files(folder) == []


def test_canaries_are_spread_over_the_labels(finished):
    record = json.loads((finished[1] / "fin_qlora.json").read_text(encoding="utf-8"))
    (task,) = record["tasks"]
    assert [c["label"] for c in task["canaries"]][:3] == list(TASK.label_names)
    assert task["canaries"][0]["base_scores"] != task["canaries"][0]["adapter_scores"]


def test_an_adapter_of_another_base_is_refused(folder, small_base, tmp_path):
    other = tmp_path / "other-base"
    shutil.copytree(small_base, other)
    weights = load_file(other / "model.safetensors")
    save_file({k: v + 1 for k, v in weights.items()}, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(AdapterMismatchError, match="trained on another base"):
        load_adapter(folder, base=other)
    assert load_adapter(folder, base=small_base).task == "tfns"


def test_an_adapter_that_does_nothing_is_refused(folder):
    write_weights(folder, lambda w: {k: v * 0 if "lora_B" in k else v for k, v in w.items()})
    with pytest.raises(AdapterMismatchError, match="every B matrix is zero"):
        load_adapter(folder)


def test_an_adapter_with_a_missing_tensor_is_refused(folder):
    write_weights(folder, lambda w: {k: w[k] for k in sorted(w)[1:]})
    with pytest.raises(AdapterMismatchError, match=r"1 missing \('base_model\..*lora_A"):
        load_adapter(folder)  # PEFT itself only warns of it


def test_changed_weights_are_refused_by_their_digest(folder):
    weights = load_file(folder / WEIGHTS)
    noise = {k: v + torch.randn_like(v) * 1e-3 for k, v in weights.items()}
    save_file(noise, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(AdapterMismatchError, match=r"adapter_model\.safetensors' has changed"):
        load_adapter(folder)
    assert load_adapter(folder, verify=False).task == "tfns"


def test_weights_that_do_not_sing_are_refused_whatever_the_manifest_says(folder):
    write_weights(folder, lambda w: {k: -100 * v if "lora_B" in k else v for k, v in w.items()})
    with pytest.raises(AdapterMismatchError, match="does not answer as it did"):
        load_adapter(folder)


def test_an_edited_prompt_is_refused(folder):
    record = json.loads((folder / "fin_qlora.json").read_text(encoding="utf-8"))
    record["tasks"][0]["contract"]["instruction"] += " Be bold."
    (folder / "fin_qlora.json").write_text(json.dumps(record), encoding="utf-8")
    sign(folder)
    with pytest.raises(AdapterMismatchError, match="prompt contract"):
        load_adapter(folder)


def test_a_lineage_that_disagrees_is_refused(folder):
    change(folder / "adapter_config.json", revision="0" * 40)
    sign(folder)
    with pytest.raises(AdapterMismatchError, match="names the base"):
        load_adapter(folder)


def test_what_is_not_there_is_named():
    with pytest.raises(MissingFileError, match="neither a folder nor a hub id"):
        load_adapter("./nowhere")
