"""The embedded tiny base: complete, small, loadable without a network, and honestly described."""

from __future__ import annotations

import json
import math

import pytest

from fin_qlora.models.tiny import TINY_ID, tiny_base_path

SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|finetune_right_pad_id|>",
)
ANSWERS = ("negative", "neutral", "positive", "person", "organization", "location", "yes", "no")


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_base_path(), local_files_only=True)


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_base_path(), local_files_only=True)


@pytest.fixture(scope="module")
def record():
    return json.loads((tiny_base_path() / "training.json").read_text(encoding="utf-8"))


def test_it_has_a_name_and_all_its_files():
    assert TINY_ID == "fin-qlora/tiny-llama"
    assert {file.name for file in tiny_base_path().iterdir()} == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    }


def test_it_is_at_most_twelve_megabytes():
    assert sum(file.stat().st_size for file in tiny_base_path().iterdir()) <= 12_000_000


def test_its_weights_are_bfloat16_and_finite(model):
    import torch

    assert model.config.model_type == "llama"
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def test_special_tokens_are_distinct_and_the_model_stops_on_both_ends(tokenizer, model):
    ids = tokenizer.convert_tokens_to_ids(list(SPECIAL))
    assert len(set(ids)) == len(SPECIAL)
    assert None not in ids
    assert tokenizer.bos_token_id == ids[0]
    assert tokenizer.eos_token_id == ids[1]
    assert tokenizer.pad_token_id == ids[5]
    assert model.generation_config.eos_token_id == [ids[1], ids[4]]
    assert model.generation_config.pad_token_id == ids[5]


@pytest.mark.parametrize("word", ANSWERS)
def test_an_answer_word_is_one_token_and_does_not_merge_into_the_prompt(tokenizer, word):
    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    assert len(ids(f" {word}")) == len(ids(word)) == 1
    assert ids(f"Answer: {word}") == ids("Answer:") + ids(f" {word}")


@pytest.mark.parametrize("text", ["Zürich – 5.7 %", "€3bn\n\tup", "日本 株", "$AAPL 🚀 @x"])
def test_any_text_survives_the_tokenizer(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:]) == text


def test_the_chat_template_marks_what_the_assistant_says(tokenizer):
    messages = [{"role": "user", "content": "Up?"}, {"role": "assistant", "content": "yes"}]
    encoded = tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    marked = [
        token
        for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
        if mask
    ]
    assert tokenizer.decode(marked) == "yes<|eot_id|>"
    assert encoded["input_ids"].count(tokenizer.bos_token_id) == 1
    asked = tokenizer.apply_chat_template(
        messages[:1], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert encoded["input_ids"][: len(asked)] == asked


def test_training_rows_look_like_the_prompts_of_the_library(tokenizer):
    from fin_qlora.models.tiny.corpus import Corpus
    from fin_qlora.models.tiny.exercises import Exercise
    from fin_qlora.models.tiny.rows import RowMaker
    from fin_qlora.prompts import PromptContract

    nothing = Corpus((), (), (), (), {}, {})
    maker = RowMaker(tokenizer, nothing, seed=0)
    made = Exercise("direction", "Up or down?", "It rose https://t.co/a1B2c3", "up")
    for form, row in (("plain", maker.plain(made)), ("chat", maker.chat(made))):
        contract = PromptContract(form=form, instruction=made.instruction, labels=("up", "down"))
        assert row.ids == contract.encode(tokenizer, made.input, "up").input_ids
        assert len(row.weights) == len(row.ids)
        assert row.weights[0] == 0


def test_it_learned_something(record):
    assert set(record["perplexity"]) == {"filings", "definitions", "tweets"}
    for figures in record["perplexity"].values():
        assert figures["model"] < figures["bigram"] < figures["unigram"]


def test_the_recorded_perplexity_is_that_of_the_weights(tokenizer, model):
    import torch

    text = "The Company recognizes revenue when control of the goods is transferred to customers."
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        loss = float(model(ids, labels=ids).loss)
    assert math.exp(loss) < 200


def test_the_card_says_what_it_is_and_what_it_must_not_be_used_for(record):
    card = (tiny_base_path() / "README.md").read_text(encoding="utf-8")
    for part in (
        "must not be used for anything else",
        "No labelled row",
        "text without labels",
        "SEC filings",
        "MIT",
        "Invented headlines",
        "apache-2.0",
        f"{record['parameters']:,} parameters",
        f"seed {record['seed']}",
        f"{record['perplexity']['tweets']['model']:.1f}",
        "fin_qlora.models.tiny.make",
    ):
        assert part in card
    assert not any(line.endswith(" ") for line in card.splitlines())


def test_invented_headlines_are_repeatable_and_of_every_direction():
    import random

    from fin_qlora.models.tiny.market import headline

    first = [headline(random.Random(seed)) for seed in range(300)]
    assert first == [headline(random.Random(seed)) for seed in range(300)]
    assert {made.direction for made in first} == {"up", "down", "flat"}


def test_no_exercise_answers_with_a_label_of_the_demo_or_of_sentiment():
    import random

    from fin_qlora.models.tiny.corpus import Corpus, Definition
    from fin_qlora.models.tiny.exercises import exercise

    corpus = Corpus(
        tweets=("$AB - Shares of AB rise 3% on strong earnings in May", "Futures fall, oil drops"),
        paragraphs=(("Sales rose in May 2021 because of the new lease.", "Costs fell in June."),),
        definitions=(
            Definition("Asset, Total", "Sum of assets."),
            Definition("Tax Rate", "A rate."),
        ),
        questions=("What is the ratio?",),
        held_out={},
        counts={},
    )
    rng = random.Random(1)
    answers = {exercise(rng, corpus).answer.lower() for _ in range(3000)}
    assert not answers & {"negative", "neutral", "positive", "person", "organization", "location"}
