"""The likelihood of one answer is the sum over its tokens, read with the prompt before them."""

from __future__ import annotations

import pytest
import torch

from fin_qlora import tasks
from fin_qlora.errors import NotFiniteError, TruncatedAnswerError
from fin_qlora.inference.likelihood import mean_log_likelihood
from fin_qlora.inference.scoring import score_labels
from fin_qlora.models.base import load_model
from fin_qlora.prompts import PromptContract

CONTRACT = PromptContract(instruction="Which tag?", grammar="tag")


@pytest.fixture(scope="module")
def model(small_base):
    return load_model(small_base, quantization="none").float()


def test_it_is_the_mean_over_the_answers_tokens_and_its_end(model, tokenizer):
    prompt = CONTRACT.prompt(tokenizer, "Cash")
    answer = CONTRACT.answer(tokenizer, "us-gaap:AssetsCurrent")
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    each = [float(logits[len(prompt) - 1 + k, token]) for k, token in enumerate(answer)]
    found = mean_log_likelihood(model, tokenizer, CONTRACT, "Cash", "us-gaap:AssetsCurrent")
    assert found == pytest.approx(sum(each) / len(each), abs=1e-4)


def test_it_agrees_with_the_scores_of_labels(model, tokenizer):
    contract = tasks.get("tfns").contract()
    (scores,) = score_labels(model, tokenizer, contract, ["Shares rose."])
    totals = [
        mean_log_likelihood(model, tokenizer, contract, "Shares rose.", label)
        * len(contract.answer(tokenizer, label))
        for label in contract.labels
    ]
    assert torch.tensor(totals).softmax(-1).tolist() == pytest.approx(
        list(scores.values()), abs=1e-4
    )


def test_the_model_is_left_in_its_mode_and_a_long_text_is_refused(model, tokenizer):
    model.train()
    mean_log_likelihood(model, tokenizer, CONTRACT, "Cash", "us-gaap:Cash")
    assert model.training
    model.eval()
    with pytest.raises(TruncatedAnswerError, match="reads at most 512"):
        mean_log_likelihood(model, tokenizer, CONTRACT, "very long " * 400, "us-gaap:Cash")


def test_a_weight_that_is_no_number_is_named(small_base, tokenizer):
    spoilt = load_model(small_base, quantization="none")
    with torch.no_grad():
        spoilt.model.layers[0].self_attn.v_proj.weight[0, 0] = torch.inf
    with pytest.raises(NotFiniteError, match=r"layers\.0\.self_attn\.v_proj\.weight"):
        mean_log_likelihood(spoilt, tokenizer, CONTRACT, "Cash", "us-gaap:Cash")
