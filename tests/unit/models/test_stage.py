"""The parts of a base, one after another, are the base; each reads its own tensors only."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from fin_qlora.errors import DataError, MissingFileError, UsageError
from fin_qlora.models.architecture import skeleton
from fin_qlora.models.base import load_model
from fin_qlora.models.checkpoint import check_stored, stored_shapes
from fin_qlora.models.stage import Elsewhere, Span, check_llama_like, load_stage

CPU = torch.device("cpu")
SMALL = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
SPANS = [
    Span(first=0, end=1, layers=3),
    Span(first=1, end=2, layers=3),
    Span(first=2, end=3, layers=3),
]
KINDS = {
    "llama": (LlamaConfig, {}),
    "llama, tied": (LlamaConfig, {"tie_word_embeddings": True}),
    "mistral": (MistralConfig, {"sliding_window": None}),
    "qwen2": (Qwen2Config, {}),
    "qwen3": (Qwen3Config, {"tie_word_embeddings": True}),
}


def written(folder, config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)  # else a forgotten one would not show
    model.save_pretrained(folder, max_shard_size="40KB")
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return written(tmp_path_factory.mktemp("llama"), LlamaConfig(**SMALL))


def through(parts, ids):
    states = None
    for part in parts:
        read = {"input_ids": ids} if states is None else {"inputs_embeds": states}
        with torch.no_grad():
            states = part.model(**read, use_cache=False).last_hidden_state
    return parts[-1].lm_head(states)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quantization", ["none", "4bit", "8bit"])
def test_parts_one_after_another_are_the_base(tmp_path, kind, quantization):
    make, settings = KINDS[kind]
    config = make(**SMALL | settings)
    folder = written(tmp_path, config)
    ids = torch.randint(3, 96, (3, 9))
    whole = load_model(folder, quantization=quantization).eval()
    parts = [
        load_stage(folder, span, config=config, quantization=quantization, device=CPU)
        for span in SPANS
    ]
    with torch.no_grad():
        assert torch.equal(through(parts, ids), whole(input_ids=ids).logits)
    for part, span in zip(parts, SPANS, strict=True):
        held = [n for n, layer in enumerate(part.model.layers) if not isinstance(layer, Elsewhere)]
        assert held == [span.first]
        assert part.model.layers[span.first].self_attn.layer_idx == 0  # its place in a cache
        assert not any(parameter.is_meta for parameter in part.parameters())


def test_a_part_keeps_the_names_of_the_whole(llama):
    part = load_stage(llama, SPANS[1], config=LlamaConfig(**SMALL), quantization="none", device=CPU)
    names = {name for name, _ in part.named_parameters()}
    assert names == {name for name in stored_shapes(llama) if name.startswith("model.layers.1.")}


def test_another_architecture_is_refused(tmp_path):
    from transformers import GPT2Config

    with pytest.raises(UsageError, match="type 'gpt2' cannot be cut"):
        check_llama_like(GPT2Config())


def test_a_file_that_the_index_names_must_be_there(llama, tmp_path):
    import shutil

    copy = shutil.copytree(llama, tmp_path / "copy")
    gone = sorted(copy.glob("model-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(MissingFileError, match=gone.name):
        check_stored(copy, skeleton(LlamaConfig(**SMALL)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_hidden_layers": 4}, r"no tensor 'model\.layers\.3"),
        ({"intermediate_size": 100}, r"'model\.layers\.0\.mlp.* has shape \(96, 64\)"),
    ],
)
def test_files_that_do_not_fit_config_json_are_refused(llama, settings, said):
    check_stored(llama, skeleton(LlamaConfig(**SMALL)))
    with pytest.raises(DataError, match=said):
        check_stored(llama, skeleton(LlamaConfig(**SMALL | settings)))
