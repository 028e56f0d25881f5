"""Scores side by side under a mask are those of each answer read alone."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import MistralConfig, MistralForCausalLM

from fin_qlora import tasks
from fin_qlora.errors import MemoryShortError, NotFiniteError, TruncatedAnswerError
from fin_qlora.inference import scoring
from fin_qlora.inference.generation import generate_answers
from fin_qlora.inference.reading import beginning
from fin_qlora.inference.reading.whole import Whole
from fin_qlora.inference.scoring import label_log_likelihoods, score_labels
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
    return torch.tensor(totals_one_by_one(model, tokenizer, contract, text)).softmax(-1).tolist()


def totals_one_by_one(model, tokenizer, contract, text) -> list[float]:
    totals = []
    for label in contract.labels:
        prompt, answer = contract.prompt(tokenizer, text), contract.answer(tokenizer, label)
        with torch.no_grad():
            logits = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
        totals.append(
            sum(float(logits[at, token]) for at, token in zip(places, answer, strict=True))
        )
    return totals


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
    for budget, value in (("MASK_BUDGET", 2 * 20**2), ("TOKEN_BUDGET", 30)):
        with monkeypatch.context() as patch:
            patch.setattr(scoring, budget, value)
            done: list[int] = []
            apart = score_labels(model, tokenizer, contract, TEXTS, progress=done.append)
        assert len(done) > 1
        for one, other in zip(together, apart, strict=True):
            assert list(one.values()) == pytest.approx(list(other.values()), abs=1e-4)


@pytest.mark.parametrize("batch_size", [2, 32])
def test_what_prompts_begin_with_is_read_once_and_changes_nothing(
    model, tokenizer, batch_size, monkeypatch
):
    contract = PromptContract(instruction="What is it, in all its parts?", labels=LABELS)
    texts = [*TEXTS, "very " * 90 + "long"]
    with_it = label_log_likelihoods(model, tokenizer, contract, texts, batch_size=batch_size)
    read: list[int] = []
    begun = Whole._read_once
    monkeypatch.setattr(
        Whole, "_read_once", lambda self, ids: read.append(len(ids)) or begun(self, ids)
    )
    label_log_likelihoods(model, tokenizer, contract, texts, batch_size=batch_size)
    monkeypatch.setattr(beginning, "TOKENS", 10**9)
    without = label_log_likelihoods(model, tokenizer, contract, texts, batch_size=batch_size)
    assert read[0] >= beginning_of(contract, tokenizer)
    assert read[1:] == [0]
    for text, one, other in zip(texts, with_it, without, strict=True):
        assert list(one) == list(LABELS)
        assert list(one.values()) == pytest.approx(list(other.values()), abs=1e-3)
        expected = totals_one_by_one(model, tokenizer, contract, text)
        assert list(one.values()) == pytest.approx(expected, abs=1e-3)


def beginning_of(contract, tokenizer) -> int:
    one, other = (contract.prompt(tokenizer, text) for text in ("a", "Z"))
    return next(at for at, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1)


@pytest.mark.parametrize("quantization", ["4bit", "8bit", "none"])
def test_a_quantised_base_with_an_adapter_finds_the_same_label(
    small_base, tokenizer, quantization, monkeypatch
):
    torch.manual_seed(0)
    model = get_peft_model(
        load_model(small_base, quantization=quantization),
        LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj", "v_proj"]),
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    contract = PromptContract(instruction="What is it, in all its parts?", labels=LABELS)
    with_it = label_log_likelihoods(model, tokenizer, contract, TEXTS)
    monkeypatch.setattr(beginning, "TOKENS", 10**9)
    without = label_log_likelihoods(model, tokenizer, contract, TEXTS, batch_size=1)
    with model.disable_adapter():
        base = label_log_likelihoods(model, tokenizer, contract, TEXTS)
    for one, other, third in zip(with_it, without, base, strict=True):
        assert max(one, key=one.get) == max(other, key=other.get)
        assert list(one.values()) == pytest.approx(list(other.values()), abs=0.3)
        assert list(one.values()) != pytest.approx(list(third.values()), abs=1e-3)


def test_log_likelihoods_are_sums_and_scores_their_softmax(model, tokenizer):
    contract = PromptContract(instruction="What is it?", labels=LABELS)
    totals = label_log_likelihoods(model, tokenizer, contract, TEXTS)
    scores = score_labels(model, tokenizer, contract, TEXTS)
    for text, one, probabilities in zip(TEXTS, totals, scores, strict=True):
        expected = totals_one_by_one(model, tokenizer, contract, text)
        assert list(one.values()) == pytest.approx(expected, abs=1e-3)
        softmax = torch.tensor(list(one.values())).softmax(-1).tolist()
        assert list(probabilities.values()) == pytest.approx(softmax, abs=1e-5)


def test_a_base_that_caps_its_logits_has_each_label_read_alone(model, tokenizer):
    contract = PromptContract(instruction="What is it?", labels=LABELS)
    plain = label_log_likelihoods(model, tokenizer, contract, TEXTS, batch_size=3)
    model.config.final_logit_softcapping = 30.0  # this base takes no notice of it
    try:
        apart = label_log_likelihoods(model, tokenizer, contract, TEXTS, batch_size=3)
    finally:
        del model.config.final_logit_softcapping
    for one, other in zip(plain, apart, strict=True):
        assert list(one.values()) == pytest.approx(list(other.values()), abs=1e-3)
        assert one != other, "it was read another way"


def test_a_window_of_attention_is_kept_where_prompts_are_longer(tokenizer):
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=12,
        max_position_embeddings=512,
    )  # fmt: skip
    windowed = MistralForCausalLM(config).eval()
    contract = PromptContract(instruction="What is it?", labels=LABELS)
    found = label_log_likelihoods(windowed, tokenizer, contract, TEXTS)
    for text, one in zip(TEXTS, found, strict=True):
        expected = totals_one_by_one(windowed, tokenizer, contract, text)
        assert list(one.values()) == pytest.approx(expected, abs=1e-3)


def test_each_batch_is_kept_and_some_can_be_left_to_others(model, tokenizer):
    contract = tasks.get("tfns").contract()
    everything = label_log_likelihoods(model, tokenizer, contract, TEXTS, batch_size=1)
    kept: dict[int, dict[str, float]] = {}
    numbers: list[int] = []

    def mine(number, rows):
        numbers.append(number)
        return number % 2 == 1

    found = label_log_likelihoods(
        model,
        tokenizer,
        contract,
        TEXTS,
        batch_size=1,
        keep=lambda rows, results: kept.update(zip(rows, results, strict=True)),
        mine=mine,
    )
    assert numbers == [0, 1, 2, 3]
    assert len(kept) == 2
    for row, one in enumerate(found):
        assert one == (everything[row] if row in kept else None)
        assert one == kept.get(row)


def test_rows_that_are_done_are_kept_when_memory_ends(model, tokenizer, monkeypatch):
    contract = tasks.get("tfns").contract()
    kept: list[int] = []
    passes = iter(range(100))
    hidden = Whole._hidden

    def ends(self, *args, **options):
        if next(passes) == 2:  # the beginning, a batch, and the batch that does not fit
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")
        return hidden(self, *args, **options)

    monkeypatch.setattr(Whole, "_hidden", ends)
    model.train()
    with pytest.raises(MemoryShortError, match=r"2 rows of \d+ tokens .* 2 rows are done") as error:
        score_labels(
            model, tokenizer, contract, TEXTS, batch_size=2, keep=lambda rows, _: kept.extend(rows)
        )
    assert error.value.fix == "Use a batch size of 1."
    assert len(kept) == 2
    assert model.training
    model.eval()


def test_another_runtime_error_stays_what_it_is(model, tokenizer, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("something else")

    monkeypatch.setattr(Whole, "_hidden", fails)
    with pytest.raises(RuntimeError, match="something else"):
        score_labels(model, tokenizer, tasks.get("tfns").contract(), TEXTS)


def test_a_weight_that_is_no_number_is_named(small_base, tokenizer):
    model = load_model(small_base, quantization="none")
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[3, 5] = torch.nan
    contract = tasks.get("tfns").contract()
    with pytest.raises(NotFiniteError, match=r"layers\.1\.mlp\.down_proj\.weight"):
        score_labels(model, tokenizer, contract, TEXTS)
    with pytest.raises(NotFiniteError, match=r"layers\.1\.mlp\.down_proj\.weight"):
        generate_answers(model, tokenizer, contract, TEXTS)
