"""What a step holds is counted without running it, and is what a real step holds."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig

from fin_qlora.models.activations import LiveBytes, cross_entropy, measured_step, step_memory
from fin_qlora.models.architecture import llama_31
from fin_qlora.models.base import load_model
from fin_qlora.models.tiny import tiny_base_path

ROWS, LENGTH, TRAINED = 2, 120, 7


def on_a_processor(adapter, *, quantization, recompute=False, eager=False):
    """Measure a step of the embedded base, and return the model and what the step held."""
    model = load_model(
        tiny_base_path(),
        quantization=quantization,
        attn_implementation="eager" if eager else "sdpa",
    )
    tuned = get_peft_model(model, adapter).train()
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if recompute:
        model.enable_input_require_grads()
        model.activation_checkpointing_enable({"use_reentrant": False})
    ids, places = torch.randint(5, 100, (ROWS, LENGTH)), torch.arange(TRAINED)

    def loss():
        logits = tuned(input_ids=ids, use_cache=False, logits_to_keep=places).logits
        return cross_entropy(logits.flatten(0, 1), ids[:, :TRAINED].flatten()).sum()

    return tuned, loss, measured_step(tuned, loss, autocast=True)


def planned(adapter, *, quantization, **options):
    return step_memory(
        AutoConfig.from_pretrained(tiny_base_path()),
        quantization=quantization,
        adapter=adapter,
        adapter_dtype=torch.float32,
        rows=ROWS,
        length=LENGTH,
        trained=TRAINED,
        on_gpu=False,
        **options,
    )


def adapter(**options) -> LoraConfig:
    return LoraConfig(
        **({"r": 4, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"} | options)
    )


@pytest.mark.parametrize(
    ("quantization", "lora", "options"),
    [
        ("none", {"lora_dropout": 0.1}, {}),
        ("none", {"target_modules": "all-linear"}, {"checkpointing": True}),
        ("4bit", {"lora_dropout": 0.1, "use_dora": True}, {}),
        ("4bit", {"use_rslora": True}, {"checkpointing": True, "eager": True}),
        ("4bit", {"target_modules": "all-linear"}, {"eager": True}),
    ],
)
def test_it_is_what_a_real_step_holds_to_the_byte(quantization, lora, options):
    expected = planned(adapter(**lora), quantization=quantization, **options)
    *_, found = on_a_processor(
        adapter(**lora),
        quantization=quantization,
        recompute=options.get("checkpointing", False),
        eager=options.get("eager", False),
    )
    assert found == expected


@pytest.mark.parametrize("recompute", [False, True])
def test_eight_bits_take_the_scales_that_move_into_the_layers_state_more(recompute):
    expected = planned(adapter(), quantization="8bit", checkpointing=recompute)
    *_, found = on_a_processor(adapter(), quantization="8bit", recompute=recompute)
    assert found.peak == pytest.approx(expected.peak, rel=0.015)


def test_the_live_count_agrees_with_what_autograd_says_it_keeps():
    tuned, loss, found = on_a_processor(adapter(), quantization="none")
    own = {p.untyped_storage().data_ptr() for p in (*tuned.parameters(), *tuned.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        value = loss()
    # beside what backward needs there are the batch, the loss and the casts that autocast remembers
    assert sum(kept.values()) <= found.kept
    assert sum(kept.values()) == pytest.approx(found.kept, rel=0.03)
    value.backward()


def test_storages_count_once_and_until_they_are_gone():
    with LiveBytes() as live:
        kept = torch.ones(1000)
        view = kept[:10]
        other = torch.ones(500)
        del other
        again = kept + 1
        del again
    assert live.now == 4000
    assert live.peak == 8000
    assert len(view) == 10


def test_nothing_is_allocated_for_a_model_that_no_machine_holds():
    found = step_memory(
        llama_31("70b"),
        quantization="none",
        adapter=adapter(),
        adapter_dtype=torch.float32,
        rows=1,
        length=100_000,
        trained=10,
    )
    assert found.peak > 2**40


def test_tokens_cost_the_same_in_any_number_of_rows():
    shape = {"adapter": adapter(), "quantization": "4bit", "adapter_dtype": torch.float32}
    config = AutoConfig.from_pretrained(tiny_base_path())
    few = step_memory(config, rows=2, length=500, trained=1, **shape)
    one = step_memory(config, rows=1, length=1000, trained=2, **shape)
    assert few.kept == pytest.approx(one.kept, rel=0.01)


def test_copies_of_what_rows_share_are_counted():
    shape = {"adapter": adapter(), "quantization": "4bit", "adapter_dtype": torch.float32}
    config = AutoConfig.from_pretrained(tiny_base_path())
    base = step_memory(config, rows=1, length=500, trained=1, seen=500, **shape)
    more = step_memory(config, rows=1, length=500, trained=1, seen=1500, **shape)
    width = config.num_key_value_heads * config.head_dim
    assert more.kept - base.kept == config.num_hidden_layers * 1000 * 2 * 2 * width
