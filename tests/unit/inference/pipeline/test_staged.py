"""What can be seen of stages in one process; tests/distributed has the rest."""

from __future__ import annotations

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from fin_qlora import tasks
from fin_qlora.errors import MemoryShortError, UsageError
from fin_qlora.inference.generation import generate_answers
from fin_qlora.inference.pipeline import load_staged, loading
from fin_qlora.inference.reading.passes import Passes
from fin_qlora.inference.scoring import label_log_likelihoods
from fin_qlora.models.base import load_model, load_tokenizer

ROWS = [{"text": "Shares rose." * (n % 3 + 1)} for n in range(5)]


@pytest.fixture
def contract():
    return tasks.get("tfns").contract()


def test_one_stage_is_the_whole(small_base, contract):
    whole, tokenizer = load_model(small_base, quantization="none"), load_tokenizer(small_base)
    before = torch.distributed.is_initialized()
    with load_staged(small_base, stages=1, micro_batches=1) as staged:
        assert isinstance(staged, Passes)
        for ask in (label_log_likelihoods, generate_answers):
            assert ask(staged, tokenizer, contract, ROWS) == ask(whole, tokenizer, contract, ROWS)
        assert staged.tasks == {}
        assert staged.quantization == "none"
    assert torch.distributed.is_initialized() == before  # it has parted again


def test_one_process_for_each_stage(small_base):
    with pytest.raises(UsageError, match=r"2 processes, one each; 1 was started") as refused:
        load_staged(small_base, stages=2)
    assert "torchrun --nproc_per_node 2" in refused.value.fix


def test_a_stage_that_does_not_fit_is_named(small_base, monkeypatch):
    def too_large(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(loading, "load_stage", too_large)
    with pytest.raises(MemoryShortError, match=r"Stage 0 \(embeddings, layers 0-\d, head\)"):
        load_staged(small_base, stages=1)


def test_a_batch_is_cut_into_one_part_at_least(small_base):
    with pytest.raises(UsageError, match="micro_batches is 0"):
        load_staged(small_base, stages=1, micro_batches=0)


@pytest.mark.parametrize("ask", [label_log_likelihoods, generate_answers])
def test_a_window_shorter_than_a_row_is_refused(tmp_path, tokenizer, contract, ask):
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=16,
        max_position_embeddings=512,
    )
    MistralForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with (
        load_staged(tmp_path, stages=1) as staged,
        pytest.raises(UsageError, match="windows shorter than"),
    ):
        ask(staged, tokenizer, contract, ROWS)
