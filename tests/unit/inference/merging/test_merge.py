"""A merged model is base plus adapter, in 16 bits, and is kept only if it answers so."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from fin_qlora import load_adapter
from fin_qlora.errors import (
    AdapterMismatchError,
    MemoryShortError,
    MergeDriftError,
    NotFiniteError,
    UsageError,
)
from fin_qlora.evidence import read_record, write_manifest, write_record
from fin_qlora.inference.adapters.folder import read_adapter
from fin_qlora.inference.merging import merge as merging
from fin_qlora.inference.merging.drift import Answered, drift_between
from fin_qlora.inference.merging.layers import changes_of
from fin_qlora.inference.merging.merge import EVIDENCE, merge_adapter
from fin_qlora.models.base import load_model, weights_digest
from fin_qlora.models.lora import WEIGHTS, save_weights
from fin_qlora.models.stored_lora import read_config, stored_tensors

ROWS = (("up", "1"), ("down", "0"), ("flat", "2"))


@pytest.fixture(scope="module")
def sharded_base(small_base, tmp_path_factory) -> Path:
    """The small base in several files with an index, as large ones are."""
    folder = tmp_path_factory.mktemp("sharded") / "base"
    model = AutoModelForCausalLM.from_pretrained(small_base, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="300KB")
    AutoTokenizer.from_pretrained(small_base).save_pretrained(folder)
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


@pytest.fixture(scope="module")
def trained(run_on, sharded_base, tmp_path_factory) -> Path:
    """An adapter of a few steps on a 4-bit base."""
    work = tmp_path_factory.mktemp("run")
    (work / "tfns").mkdir()
    for name, start in (("sent_train", 0), ("sent_valid", 50)):
        lines = [f"it went {word} {start + n},{raw}" for n in range(4) for word, raw in ROWS]
        (work / "tfns" / f"{name}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    run_on("tfns", data_dir=work, base=sharded_base)
    return work / "adapter"


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    return shutil.copytree(trained, tmp_path / "adapter")


@pytest.fixture(scope="module")
def merged(trained, tmp_path_factory):
    return merge_adapter(trained, tmp_path_factory.mktemp("merged") / "model")


def sign(folder: Path) -> None:
    write_manifest(folder, json.loads((folder / "manifest.json").read_text("utf-8")))


KINDS = {
    "LoRA": {},
    "rank-stabilised": {"use_rslora": True, "r": 3},
    "DoRA": {"use_dora": True},
    "patterns": {
        "rank_pattern": {"layers.0.self_attn.q_proj": 2, "down_proj": 6},
        "alpha_pattern": {"v_proj": 5},
        "target_modules": ["q_proj", "v_proj", "down_proj"],
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_is_what_peft_makes_of_it_in_float32(small_base, tmp_path, kind):
    base = load_model(small_base, quantization="none").float()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    given = {"r": 4, "lora_alpha": 7, "target_modules": ["q_proj", "down_proj"]} | KINDS[kind]
    torch.manual_seed(3)
    model = get_peft_model(
        base, LoraConfig(**given, init_lora_weights=False, task_type="CAUSAL_LM")
    )
    for name, parameter in model.named_parameters():
        if "magnitude" in name:
            parameter.data *= 1.25
    save_weights(model, tmp_path)
    stored = stored_tensors(tmp_path)
    changes = changes_of(read_config(tmp_path), stored)
    # what the file holds, so that its rounding is on both sides
    again = PeftModel.from_pretrained(load_model(small_base, quantization="none").float(), tmp_path)
    expected = again.merge_and_unload().state_dict()
    assert len(changes) == len([name for name in stored if "lora_A" in name])
    for name, tensor in expected.items():
        if name in changes:
            ours = changes[name].applied_to(before[name], name=name)
            torch.testing.assert_close(ours, tensor, rtol=1e-5, atol=1e-6)
            assert not torch.allclose(tensor, before[name])
        else:
            assert torch.equal(tensor, before[name])


def test_the_files_are_those_of_the_base_with_other_numbers(merged, sharded_base, trained):
    out = merged.folder
    named = {path.name for path in sharded_base.glob("*.safetensors")}
    assert {path.name for path in out.glob("*.safetensors")} == named
    for file in ("model.safetensors.index.json", "tokenizer.json", "generation_config.json"):
        assert (out / file).is_file()
    config = json.loads((out / "config.json").read_text("utf-8"))
    assert (config["dtype"], "quantization_config" in config) == ("bfloat16", False)
    index = json.loads((out / "model.safetensors.index.json").read_text("utf-8"))
    assert index["metadata"]["total_size"] == sum(
        tensor.nbytes for file in named for tensor in load_file(out / file).values()
    )
    assert not [path for path in out.iterdir() if path.suffix in (".bin", ".pt")]


def test_transformers_alone_reads_it_and_it_answers_as_the_adapter(merged, trained, sharded_base):
    plain = AutoModelForCausalLM.from_pretrained(merged.folder, dtype=torch.bfloat16).eval()
    adapter = PeftModel.from_pretrained(
        load_model(sharded_base, quantization="none"), str(trained)
    ).eval()
    base = load_model(sharded_base, quantization="none").eval()
    ids = torch.tensor([AutoTokenizer.from_pretrained(merged.folder)("it went up")["input_ids"]])
    with torch.no_grad():
        ours, theirs, without = (m(input_ids=ids).logits for m in (plain, adapter, base))
    off = (ours - theirs).norm() / theirs.norm()
    assert off < 0.05 < (without - theirs).norm() / theirs.norm()


def test_the_drift_from_the_quantised_base_is_stated(merged):
    assert merged.drift.logits < 0.05 < merged.quantised.logits
    assert merged.drift.canaries == 8
    text = (merged.folder / "README.md").read_text("utf-8")
    assert f"{merged.quantised.logits:.2%}" in text
    assert f"{merged.drift.logits:.2%}" in text
    assert "base_model_relation" in text


def test_the_evidence_says_where_it_comes_from(merged, trained, sharded_base):
    found = json.loads((merged.folder / EVIDENCE).read_text("utf-8"))
    assert found == merged.evidence
    assert found["base"] == read_record(trained)["base"]
    assert found["digest"] == weights_digest(merged.folder)
    assert found["digest"] != found["base"]["digest"] == weights_digest(sharded_base)
    assert (found["trained_in"], found["changed_weights"]) == ("4bit", 4)
    assert found["tasks"][0]["task"] == "tfns"


def test_a_model_that_answers_otherwise_is_not_kept(folder, tmp_path, monkeypatch):
    real = merging._write_weights

    def half_of_it(base, out, changes, *, dtype):
        some = dict(list(changes.items())[:1])
        real(base, out, some, dtype=dtype)

    out = tmp_path / "model"
    with pytest.raises(MergeDriftError, match=r"allowed 0\.00%"):
        merge_adapter(folder, out, tolerance=0.0)
    monkeypatch.setattr(merging, "_write_weights", half_of_it)
    with pytest.raises(MergeDriftError, match="does not answer"):
        merge_adapter(folder, out)
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_logits_that_are_no_numbers_are_a_drift():
    fine = Answered(logits=[torch.ones(1, 3)], scores=[])
    broken = Answered(logits=[torch.full((1, 3), torch.nan)], scores=[])
    drift = drift_between(broken, fine)
    assert not drift.logits <= 1.0
    # neither where they are those of a later canary
    one, other = fine.logits + broken.logits, fine.logits * 2
    later = drift_between(Answered(logits=one, scores=[]), Answered(logits=other, scores=[]))
    assert not later.logits <= 1.0


def test_a_weight_too_large_for_its_type_is_refused(folder, tmp_path):
    changes = changes_of(read_config(folder), load_file(folder / WEIGHTS))
    base = tmp_path / "base"
    base.mkdir()
    weights = {
        name: torch.zeros(len(change.b), change.a.shape[1]) for name, change in changes.items()
    }
    weights["model.norm.weight"] = torch.full((64,), 1e5)
    save_file(weights, base / "model.safetensors")
    merging._write_weights(base, tmp_path, changes, dtype="bfloat16")
    with pytest.raises(NotFiniteError, match=r"'model\.norm\.weight' holds .* as float16"):
        merging._write_weights(base, tmp_path, changes, dtype="float16")


def test_adapter_and_base_are_not_replaced_by_it(folder, sharded_base):
    before = weights_digest(sharded_base)
    for out, what in ((folder, "adapter"), (folder.parent, "adapter"), (sharded_base, "base")):
        with pytest.raises(UsageError, match=f"The {what} itself is in"):
            merge_adapter(folder, out, replace=True)
    assert weights_digest(sharded_base) == before
    assert (folder / WEIGHTS).is_file()


def test_a_head_that_is_the_embeddings_is_not_changed(folder, sharded_base, tmp_path):
    base = shutil.copytree(sharded_base, tmp_path / "base")
    source = replace(read_adapter(folder), base_folder=base)
    change = next(iter(changes_of(source.config, load_file(folder / WEIGHTS)).values()))
    merging._check_untied(source, {"lm_head.weight": change})
    config = json.loads((base / "config.json").read_text("utf-8"))
    (base / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    merging._check_untied(source, {"model.layers.0.self_attn.q_proj.weight": change})
    with pytest.raises(AdapterMismatchError, match="one tensor for head and embeddings"):
        merging._check_untied(source, {"lm_head.weight": change})


def test_what_does_not_fit_to_be_checked_is_not_kept(folder, tmp_path, monkeypatch):
    def too_large(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(merging, "answers_of", too_large)
    with pytest.raises(MemoryShortError, match="cannot be checked") as refused:
        merge_adapter(folder, tmp_path / "model")
    assert "CUDA_VISIBLE_DEVICES=" in refused.value.fix
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_something_else_is_not_replaced(folder, tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="something else of yours"):
        merge_adapter(folder, out)
    merge_adapter(folder, out, replace=True)
    assert not (out / "mine.txt").exists()
    merge_adapter(folder, out, dtype="float32")  # one of ours is replaced
    assert {t.dtype for f in out.glob("*.safetensors") for t in load_file(f).values()} == {
        torch.float32
    }


def test_a_base_stored_in_few_bits_is_refused(folder, sharded_base, tmp_path):
    base = shutil.copytree(sharded_base, tmp_path / "base")
    config = json.loads((base / "config.json").read_text("utf-8"))
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(AdapterMismatchError, match="stored quantised"):
        merge_adapter(folder, tmp_path / "model", base=base)
    assert not (tmp_path / "model").exists()


def test_a_base_whose_files_name_their_tensors_otherwise_is_refused(folder, tmp_path):
    weights = load_file(folder / WEIGHTS)
    config = read_config(folder)
    changes = changes_of(config, weights)
    base = tmp_path / "base"
    base.mkdir()
    name = next(iter(changes))
    save_file({name + ".fused": torch.zeros(2, 2)}, base / "model.safetensors")
    with pytest.raises(AdapterMismatchError, match="have no tensor"):
        merging._write_weights(base, tmp_path, changes, dtype="bfloat16")
    save_file({name: torch.zeros(2, 2)}, base / "model.safetensors")
    with pytest.raises(AdapterMismatchError, match=r"is \(2, 2\)"):
        merging._write_weights(base, tmp_path, changes, dtype="bfloat16")
    save_file({name: torch.zeros(64, 64, dtype=torch.uint8)}, base / "model.safetensors")
    with pytest.raises(AdapterMismatchError, match="uint8"):
        merging._write_weights(base, tmp_path, changes, dtype="bfloat16")


def test_matrices_and_settings_must_be_of_one_training(folder):
    weights, config = load_file(folder / WEIGHTS), read_config(folder)
    with pytest.raises(AdapterMismatchError, match=r"of rank 4, its adapter_config\.json says 8"):
        changes_of(config | {"r": 8}, weights)
    with pytest.raises(AdapterMismatchError, match="cannot be merged"):
        changes_of(config, weights | {"base_model.model.lm_head.lora_embedding_A": torch.ones(1)})
    half = {name: tensor for name, tensor in weights.items() if "lora_A" in name}
    with pytest.raises(AdapterMismatchError, match="lora_B"):
        changes_of(config, half)
    with pytest.raises(AdapterMismatchError, match="cannot be merged"):
        changes_of(config, {})


def test_without_canaries_nothing_can_be_checked(folder, tmp_path):
    record = read_record(folder)
    record["tasks"][0]["canaries"] = []
    write_record(folder, record)
    sign(folder)
    with pytest.raises(UsageError, match="no canaries"):
        merge_adapter(folder, tmp_path / "model")
    with pytest.raises(UsageError, match="no canaries"):
        load_adapter(folder)
