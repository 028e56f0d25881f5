"""A base model too small to be slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from fin_qlora.models.tiny import tiny_base_path


@pytest.fixture(scope="session")
def small_base(tmp_path_factory) -> Path:
    """A random Llama of two layers with the embedded base's tokenizer, as a folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from fin_qlora.models.base import load_tokenizer

    tokenizer = load_tokenizer(tiny_base_path())
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("small-base")
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
