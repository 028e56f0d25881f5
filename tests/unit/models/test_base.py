"""Quantised bases keep learning, padding is no end token, identities are digests."""

from __future__ import annotations

import shutil

import pytest
import torch

from fin_qlora.errors import ContractError, MissingFileError, UsageError
from fin_qlora.models.base import load_model, load_tokenizer, locate_base, weights_digest
from fin_qlora.models.tiny import TINY_ID, tiny_base_path


@pytest.mark.parametrize("quantization", ["4bit", "8bit", "none"])
def test_gradients_survive_an_evaluation(small_base, tokenizer, quantization):
    from peft import LoraConfig, get_peft_model

    model = load_model(small_base, quantization=quantization)
    model = get_peft_model(model, LoraConfig(target_modules=["q_proj", "down_proj"]))
    ids = torch.tensor([tokenizer("Shares rose after the report.")["input_ids"]])

    def gradient() -> float:
        model.train()
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            model(input_ids=ids, labels=ids).loss.backward()
        return sum(float(p.grad.abs().sum()) for p in model.parameters() if p.grad is not None)

    before = gradient()
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model(input_ids=ids)
        model(input_ids=ids[:, :1])
    assert before > 0
    assert gradient() == pytest.approx(before, rel=0.2)


def test_four_bit_is_four_bit(small_base):
    import bitsandbytes

    model = load_model(small_base, quantization="4bit")
    layers = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 14
    assert all(layer.weight.dtype == torch.uint8 for layer in layers)
    assert all(layer.weight.quant_type == "nf4" for layer in layers)


@pytest.mark.parametrize(
    ("quantization", "kind", "nested"),
    [("4bit-single", "nf4", False), ("4bit-fp4", "fp4", True), ("4bit-fp4-single", "fp4", False)],
)
def test_other_kinds_of_four_bits_are_what_they_say(small_base, quantization, kind, nested):
    import bitsandbytes

    model = load_model(small_base, quantization=quantization)
    (layer, *_) = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert layer.weight.quant_type == kind
    assert layer.weight.quant_state.nested is nested


@pytest.mark.parametrize(
    ("device", "place"),
    [(None, 3), (torch.device("cpu"), "cpu"), (torch.device("cuda:1"), "cuda:1")],
)
def test_the_base_goes_where_it_is_told(small_base, monkeypatch, device, place):
    from transformers import AutoModelForCausalLM

    given = {}

    def loaded(folder, **options):
        given.update(options)
        return torch.nn.Module()

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", loaded)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    load_model(small_base, quantization="none", device=device)
    assert str(given["device_map"][""]) == str(place)


def test_an_unknown_quantization_is_refused(small_base):
    with pytest.raises(UsageError, match="3bit"):
        load_model(small_base, quantization="3bit")


def test_the_digest_follows_the_weights(small_base, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(small_base, copy)
    assert weights_digest(copy) == weights_digest(small_base)
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    assert weights_digest(copy) != weights_digest(small_base)


def test_the_embedded_base_is_found_by_its_name():
    folder, identity = locate_base(TINY_ID)
    assert folder == tiny_base_path()
    assert identity.id == TINY_ID
    assert len(identity.digest) == 64


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "justaname"])
def test_a_base_that_is_no_folder_and_no_id_is_named(name):
    with pytest.raises(MissingFileError, match="neither a folder nor a hub id"):
        locate_base(name)


def test_pickled_weights_are_not_read(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(MissingFileError, match="safetensors"):
        locate_base(str(tmp_path))


def test_padding_is_never_the_end_token(small_base, tmp_path, tokenizer):
    import copy

    confused = copy.deepcopy(tokenizer)
    confused.pad_token = confused.eos_token
    confused.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).pad_token == "<|finetune_right_pad_id|>"
    assert load_tokenizer(small_base).padding_side == "right"


def test_a_tokenizer_without_any_padding_token_is_refused(tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<end>": 0, "a": 1}, unk_token="<end>")),
        eos_token="<end>",
    )
    bare.save_pretrained(tmp_path)
    with pytest.raises(ContractError, match="padding"):
        load_tokenizer(tmp_path)
