"""Arithmetic against models that are really there: the same number of bytes, to the last one."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig

from fin_qlora.models.architecture import architecture, llama_31, skeleton
from fin_qlora.models.base import load_model
from fin_qlora.models.lora import WEIGHTS, save_weights
from fin_qlora.models.memory import (
    adapter_memory,
    cache_memory,
    linear_bytes,
    weight_memory,
    with_adapter,
)

QUANTIZATIONS = ["4bit", "4bit-single", "4bit-fp4", "4bit-fp4-single", "8bit", "none"]


def storages(model: torch.nn.Module) -> dict[int, int]:
    """The bytes of every storage that a model holds, by address: weights, scales, tables, buffers.

    Quantised layers keep their scales outside of parameters and buffers.
    """
    found: dict[int, int] = {}

    def look(value: object) -> None:
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
            look(getattr(value, "quant_state", None))
            look(getattr(value, "SCB", None))
        elif type(value).__name__ == "QuantState":
            for part in vars(value).values():
                look(part)

    for module in model.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            look(tensor)
        state = getattr(module, "state", None)
        for part in () if state is None else vars(state).values():
            look(part)
    return found


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_a_base_takes_what_arithmetic_says(small_base, quantization):
    loaded = load_model(small_base, quantization=quantization)
    config = AutoConfig.from_pretrained(small_base)
    expected = weight_memory(skeleton(config, quantization=quantization), quantization)
    assert sum(storages(loaded).values()) == expected.bytes


def test_numbers_that_fill_no_block_are_counted_too():
    import bitsandbytes

    layer = bitsandbytes.nn.Linear4bit(37, 459, bias=False, quant_type="nf4")
    layer.to("cpu")
    found = storages(layer)
    assert sum(found.values()) == linear_bytes(459, 37, "4bit")
    assert sum(found.values()) != linear_bytes(460, 37, "4bit")


def test_tied_weights_count_once():
    config = llama_31("8b", vocab_size=1000, num_hidden_layers=1, tie_word_embeddings=True)
    tied = weight_memory(skeleton(config), "none")
    config.tie_word_embeddings = False
    assert weight_memory(skeleton(config), "none").parameters - tied.parameters == 1000 * 4096


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj", "k_proj", "v_proj"]},
        {"target_modules": ["q_proj", "k_proj", "v_proj"], "use_rslora": True, "r": 7},
        {"target_modules": ["q_proj", "down_proj"], "use_dora": True},
        {"target_modules": "all-linear", "use_dora": True, "use_rslora": True, "r": 1},
        {"target_modules": "all-linear", "r": 64},
        {"target_modules": r".*\.1\..*(gate|up)_proj"},
    ],
)
@pytest.mark.parametrize("quantization", ["4bit", "none"])
def test_an_adapter_takes_what_arithmetic_says(small_base, tmp_path, options, quantization):
    adapter = LoraConfig(**({"r": 4, "task_type": "CAUSAL_LM"} | options))
    real = get_peft_model(load_model(small_base, quantization=quantization), adapter)
    config = AutoConfig.from_pretrained(small_base)
    planned = with_adapter(skeleton(config), adapter)
    found = adapter_memory(planned, dtype=torch.float32)
    trained = [p for p in real.parameters() if p.requires_grad]
    assert found.parameters == sum(p.numel() for p in trained)
    assert found.tensors == len(trained)
    assert found.bytes == 4 * found.parameters
    save_weights(real, tmp_path)
    assert found.file_bytes == (tmp_path / WEIGHTS).stat().st_size


def test_magnitudes_are_trained_in_float32_whatever_the_rest_is(small_base):
    config = AutoConfig.from_pretrained(small_base)
    adapter = LoraConfig(r=4, target_modules=["q_proj"], use_dora=True)
    found = adapter_memory(with_adapter(skeleton(config), adapter), dtype=torch.bfloat16)
    layers, hidden = 2, 64
    assert found.parameters == layers * (4 * 2 * hidden + hidden)
    assert found.bytes == layers * (2 * 4 * 2 * hidden + 4 * hidden)


@pytest.mark.parametrize(("size", "layers", "rank"), [("8b", 32, 4), ("8b", 32, 8), ("70b", 80, 4)])
def test_the_papers_adapters(size, layers, rank):
    config = llama_31(size)
    adapter = LoraConfig(r=rank, target_modules=["q_proj", "k_proj", "v_proj"])
    found = adapter_memory(with_adapter(skeleton(config), adapter), dtype=torch.float32)
    hidden, cached = config.hidden_size, 8 * 128
    assert found.parameters == layers * rank * (2 * hidden + 2 * (hidden + cached))
    stated = {("8b", 4): 4.5, ("8b", 8): 9.0, ("70b", 4): 21.3}[size, rank]  # MB of its table 5
    assert found.file_bytes / 2**20 == pytest.approx(stated, abs=0.1)


@pytest.mark.parametrize(
    ("size", "quantization", "gib"),
    [
        ("8b", "none", 14.96),
        ("8b", "8bit", 8.46),
        ("8b", "4bit", 5.31),
        ("8b", "4bit-single", 5.61),
        ("70b", "none", 131.42),
        ("70b", "8bit", 67.69),
        ("70b", "4bit", 36.80),
        ("70b", "4bit-single", 39.78),
    ],
)
def test_llama_31_without_its_weights(size, quantization, gib):
    found = weight_memory(skeleton(llama_31(size), quantization=quantization), quantization)
    assert found.bytes / 2**30 == pytest.approx(gib, abs=0.006)
    assert found.parameters == {"8b": 8_030_261_248, "70b": 70_553_706_496}[size]


@pytest.mark.parametrize(
    "name",
    ["meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Meta-Llama-3.1-8B", "llama-3.1-8b"],
)
def test_llama_31_needs_no_hub(name):
    assert architecture(name).num_hidden_layers == 32


def test_any_other_base_tells_its_shape_itself(small_base, tmp_path):
    (tmp_path / "config.json").write_bytes((small_base / "config.json").read_bytes())
    assert architecture(str(tmp_path)).hidden_size == 64


def test_the_cache_of_a_generation(small_base):
    from transformers import DynamicCache

    config = AutoConfig.from_pretrained(small_base)
    model = load_model(small_base, quantization="none")
    cache = DynamicCache(config=config)
    with torch.no_grad():
        model(input_ids=torch.ones(3, 17, dtype=torch.long), past_key_values=cache, use_cache=True)
    found = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert found == cache_memory(config, rows=3, length=17)
