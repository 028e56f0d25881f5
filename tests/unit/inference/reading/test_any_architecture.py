"""Which models are read under masks and caches of our own, and which as they stand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from transformers import Gemma2Config, LlamaConfig, MistralConfig, Phi3Config, RecurrentGemmaConfig

from fin_qlora.inference.reading.any_architecture import takes_masks


def longrope() -> Phi3Config:
    factors = [1.0] * 48
    return Phi3Config(
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": factors,
            "long_factor": factors,
        },
        sliding_window=None,
    )


@pytest.mark.parametrize(
    ("config", "longest", "ours"),
    [
        (LlamaConfig(), 2000, True),
        (MistralConfig(sliding_window=64), 64, True),
        (MistralConfig(sliding_window=64), 65, False),
        (Gemma2Config(), 10, False),  # caps its logits
        (RecurrentGemmaConfig(), 10, False),
        (SimpleNamespace(layers_block_type=["mamba", "attention"]), 10, False),
        (SimpleNamespace(layers_block_type=["attention"] * 2, sliding_window=None), 10, True),
        (SimpleNamespace(logits_soft_cap=30.0), 10, False),
        # the same tokens stand elsewhere as soon as a text is longer than this
        (longrope(), 4096, True),
        (longrope(), 4097, False),
    ],
)
def test_only_what_attends_to_all_that_a_mask_allows(config, longest, ours):
    assert takes_masks(config, longest=longest) == ours
