"""Scores side by side under a mask are those of each answer read alone."""

from __future__ import annotations

import pytest
import torch

from fin_qlora import tasks
from fin_qlora.errors import TruncatedAnswerError, UsageError
from fin_qlora.inference import scoring
from fin_qlora.inference.scoring import score_labels
from fin_qlora.models.base import load_model
from fin_qlora.prompts import PromptContract

TEXTS = [
    "Shares rose.",
    "Profit fell sharply after a weak quarter and a warning.",
    "x",
    "No change",
]
# labels of one, two and many tokens, one of which begins another
LABELS = ("no", "no change", "us-gaap:AssetsCurrent", "positive")


@pytest.fixture(scope="module")
def model(small_base):
    return load_model(small_base, quantization="none").float()


def one_by_one(model, tokenizer, contract, text) -> list[float]:
    totals = []
    for label in contract.labels:
        prompt, answer = contract.prompt(tokenizer, text), contract.answer(tokenizer, label)
        with torch.no_grad():
            logits = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
        totals.append(
            sum(float(logits[at, token]) for at, token in zip(places, answer, strict=True))
        )
    return torch.tensor(totals).softmax(-1).tolist()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_scores_equal_those_of_each_answer_alone(model, tokenizer, batch_size, attention):
    contract = PromptContract(instruction="What is it?", labels=LABELS)
    model.set_attn_implementation(attention)
    scores = score_labels(model, tokenizer, contract, TEXTS, batch_size=batch_size)
    for text, row in zip(TEXTS, scores, strict=True):
        assert list(row) == list(LABELS)
        expected = one_by_one(model, tokenizer, contract, text)
        assert list(row.values()) == pytest.approx(expected, abs=1e-4)


def test_order_and_count_are_those_of_the_input(model, tokenizer):
    contract = tasks.get("tfns").contract()
    done: list[int] = []
    all_at_once = score_labels(
        model, tokenizer, contract, TEXTS, batch_size=3, progress=done.append
    )
    alone = [score_labels(model, tokenizer, contract, [text])[0] for text in TEXTS]
    for one, other in zip(all_at_once, alone, strict=True):
        assert list(one.values()) == pytest.approx(list(other.values()), abs=1e-4)
    assert done == [3, 4]
    assert score_labels(model, tokenizer, contract, []) == []


def test_the_model_is_left_in_the_mode_it_was_in(model, tokenizer):
    model.train()
    score_labels(model, tokenizer, tasks.get("tfns").contract(), TEXTS[:1])
    assert model.training
    model.eval()


def test_a_text_longer_than_the_model_reads_is_named(model, tokenizer):
    contract = tasks.get("tfns").contract()
    with pytest.raises(TruncatedAnswerError, match=r"Input 2 has \d+ tokens"):
        score_labels(model, tokenizer, contract, ["short", "very long " * 400])


def test_long_rows_share_a_batch_only_while_their_masks_fit(model, tokenizer, monkeypatch):
    contract = tasks.get("tfns").contract()
    together = score_labels(model, tokenizer, contract, TEXTS)
    monkeypatch.setattr(scoring, "MASK_BUDGET", 2 * 60**2)
    done: list[int] = []
    apart = score_labels(model, tokenizer, contract, TEXTS, progress=done.append)
    assert len(done) > 1
    for one, other in zip(together, apart, strict=True):
        assert list(one.values()) == pytest.approx(list(other.values()), abs=1e-4)


def test_a_base_that_caps_its_logits_is_refused(model, tokenizer):
    model.config.final_logit_softcapping = 30.0
    try:
        with pytest.raises(UsageError, match="final_logit_softcapping"):
            score_labels(model, tokenizer, tasks.get("tfns").contract(), TEXTS)
    finally:
        del model.config.final_logit_softcapping
