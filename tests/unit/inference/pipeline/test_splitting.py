"""A base is cut by the bytes of what is loaded, and no other cut has a smaller largest stage."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from transformers import GPT2Config

from fin_qlora.errors import UsageError
from fin_qlora.inference.pipeline.splitting import ModuleBytes, best_ends, module_bytes, split
from fin_qlora.models.architecture import llama_31, skeleton
from fin_qlora.models.memory import weight_memory

SIZES = ModuleBytes(embeddings=50, layers=(10, 10, 10, 30, 10, 10, 10), head=25)


def stages_of(sizes: ModuleBytes, ends: tuple[int, ...]) -> list[int]:
    edges = (0, *ends)
    found = [sum(sizes.layers[a:b]) for a, b in itertools.pairwise(edges)]
    found[0] += sizes.embeddings
    found[-1] += sizes.head
    return found


@pytest.mark.parametrize("stages", range(1, 8))
def test_no_other_cut_has_a_smaller_largest_stage(stages):
    ends = best_ends(SIZES, stages)
    count = len(SIZES.layers)
    every = [(*cuts, count) for cuts in itertools.combinations(range(1, count), stages - 1)]
    assert ends in every
    assert max(stages_of(SIZES, ends)) == min(max(stages_of(SIZES, other)) for other in every)


@pytest.mark.parametrize("quantization", ["none", "8bit", "4bit"])
def test_the_bytes_of_the_stages_are_those_of_the_base(quantization):
    config = llama_31("8b")
    found = split(config, stages=4, quantization=quantization)
    whole = weight_memory(skeleton(config, quantization=quantization), quantization)
    rotary = 8192  # its buffers are in no file, and every stage has them
    assert 0 <= whole.bytes - sum(found.bytes) < rotary
    assert max(found.bytes) - min(found.bytes) <= max(module_bytes(config, quantization).layers)


def test_stages_are_balanced_by_bytes_and_not_by_layers():
    found = split(llama_31("8b"), stages=4, quantization="4bit")
    counts = [span.end - span.first for span in found.spans]
    assert counts[0] < counts[1]
    assert counts[3] < counts[2]
    assert (found.spans[0].first, found.spans[-1].end) == (0, 32)
    assert all(a.end == b.first for a, b in itertools.pairwise(found.spans))
    lines = found.lines()
    assert lines[0].startswith("stage 0: embeddings, layers 0-")
    assert "head" in lines[3]
    assert "GiB" in lines[3]


def test_the_manual_shows_what_is_printed():
    page = (Path(__file__).parents[4] / "docs" / "pipeline.md").read_text("utf-8")
    for line in split(llama_31("70b"), stages=4, quantization="4bit").lines():
        assert f"    {line}\n" in page


def test_a_tied_head_counts_where_it_is_needed():
    config = llama_31("8b", tie_word_embeddings=True)
    sizes = module_bytes(config, "none")
    assert sizes.head > sizes.embeddings == 2 * config.vocab_size * config.hidden_size


@pytest.mark.parametrize("stages", [0, 33])
def test_there_are_as_many_stages_as_layers_at_most(stages):
    with pytest.raises(UsageError, match=rf"{stages} stages were asked for; the base has 32"):
        split(llama_31("8b"), stages=stages, quantization="none")


def test_another_architecture_is_refused():
    with pytest.raises(UsageError, match="cannot be cut into stages"):
        split(GPT2Config(), stages=2, quantization="none")
