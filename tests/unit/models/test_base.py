"""Quantised bases keep learning, padding is no end token, identities are digests."""

from __future__ import annotations

import shutil

import pytest
import torch

from fin_qlora.errors import ContractError, MissingFileError, UsageError
from fin_qlora.models.base import load_model, load_tokenizer, locate_base, weights_digest
from fin_qlora.models.tiny import TINY_ID, tiny_base_path


def adapted(model):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(target_modules=["q_proj", "down_proj"]))


def gradient(model, ids) -> float:
    """Sum of the sizes of all gradients of one training step."""
    model.train()
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        model(input_ids=ids, labels=ids).loss.backward()
    return sum(float(p.grad.abs().sum()) for p in model.parameters() if p.grad is not None)


def evaluate(model, ids) -> None:
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model(input_ids=ids)
        model(input_ids=ids[:, :1])


def generate(model, ids) -> None:
    model.eval()
    model.generate(input_ids=ids, max_new_tokens=3, do_sample=False, pad_token_id=0)


@pytest.fixture
def ids(tokenizer) -> torch.Tensor:
    return torch.tensor([tokenizer("Shares rose after the report.")["input_ids"]])


@pytest.mark.parametrize("quantization", ["4bit", "4bit-single", "4bit-fp4", "8bit", "none"])
@pytest.mark.parametrize("between", [evaluate, generate])
def test_gradients_survive(ids, quantization, between):
    # at the size of small_base a missing guard costs a sixth of the gradients, here nearly all
    model = adapted(load_model(tiny_base_path(), quantization=quantization))
    before = gradient(model, ids)
    between(model, ids)
    assert before > 0
    assert gradient(model, ids) == pytest.approx(before, rel=1e-3)


def _repacks() -> bool:
    from bitsandbytes.nn.modules import has_avx512bf16

    return bool(has_avx512bf16())


@pytest.mark.skipif(not _repacks(), reason="this processor has no AVX512-BF16: nothing repacks")
@pytest.mark.filterwarnings("ignore:bitsandbytes..gemv_4bit")
def test_without_the_guard_they_do_not(ids, monkeypatch):
    from fin_qlora.models import base

    monkeypatch.setattr(base, "keep_trainable", lambda model: None)
    model = adapted(load_model(tiny_base_path(), quantization="4bit"))
    before = gradient(model, ids)
    evaluate(model, ids)
    assert before > 0
    assert gradient(model, ids) < before / 2


def test_eight_bit_layers_keep_no_copy_of_their_input(small_base, ids, monkeypatch):
    from fin_qlora.models import base
    from fin_qlora.models.activations import measured_step

    def held() -> int:
        model = adapted(load_model(small_base, quantization="8bit"))
        long = ids.repeat(4, 20)
        model.train()
        return measured_step(
            model, lambda: model(input_ids=long, logits_to_keep=1).logits.sum(), autocast=True
        ).kept

    guarded = held()
    monkeypatch.setattr(base, "keep_trainable", lambda model: None)
    assert held() > 1.1 * guarded


def test_dropping_that_copy_changes_no_gradient(small_base, ids, monkeypatch):
    from fin_qlora.models import base

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = adapted(load_model(small_base, quantization="8bit"))
        gradient(model, ids)
        return [p.grad for p in model.parameters() if p.grad is not None]

    ours = gradients()
    monkeypatch.setattr(base, "keep_trainable", lambda model: None)
    assert all(torch.equal(a, b) for a, b in zip(ours, gradients(), strict=True))


def test_dora_on_eight_bits_takes_more_than_one_step(small_base, ids):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        load_model(small_base, quantization="8bit"),
        LoraConfig(target_modules=["q_proj"], use_dora=True),
    )
    assert gradient(model, ids) == pytest.approx(gradient(model, ids), rel=0.2)


@pytest.mark.parametrize("quantization", ["4bit", "4bit-single"])
def test_sharded_numbers_are_held_in_bfloat16_and_are_the_same(small_base, ids, quantization):
    plain = load_model(small_base, quantization=quantization)
    sharded = load_model(small_base, quantization=quantization, sharded=True)
    layers = [
        [m for m in model.modules() if type(m).__name__ == "Linear4bit"]
        for model in (plain, sharded)
    ]
    assert {layer.weight.dtype for layer in layers[0]} == {torch.uint8}
    assert {layer.weight.dtype for layer in layers[1]} == {torch.bfloat16}
    assert all(
        torch.equal(one.weight.view(torch.uint8).flatten(), two.weight.view(torch.uint8).flatten())
        for one, two in zip(*layers, strict=True)
    )
    with torch.no_grad():
        assert torch.equal(plain(input_ids=ids).logits, sharded(input_ids=ids).logits)


def test_numbers_in_another_type_are_refused(small_base):
    with pytest.raises(UsageError, match="float64"):
        load_model(small_base, quantization="4bit", quant_storage="float64")


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
