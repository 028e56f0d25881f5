"""Many answers written at once are those that each row gets alone, the likeliest words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import MistralConfig, MistralForCausalLM

from fin_qlora import tasks
from fin_qlora.errors import TruncatedAnswerError, UsageError
from fin_qlora.inference import generation
from fin_qlora.inference.generation import Generated, generate_answers
from fin_qlora.inference.reading import beginning
from fin_qlora.inference.reading.cache import stay
from fin_qlora.inference.reading.whole import Whole
from fin_qlora.models.base import load_model
from fin_qlora.models.memory import cache_memory
from fin_qlora.prompts import PromptContract

CONTRACT = PromptContract(instruction="Which tag?", grammar="tag", answer_tokens=10)
TEXTS = ["Cash", "Profit fell sharply after a weak quarter and a warning.", "x", "No change", "ab"]


@pytest.fixture(scope="module")
def model(small_base):
    return load_model(small_base, quantization="none").float()


@pytest.fixture
def stops_early(model, tokenizer, monkeypatch):
    """Make the base stop on a token that it really writes, so that rows end at different times."""
    third = alone(model, tokenizer, TEXTS[0])[2]
    monkeypatch.setattr(model.generation_config, "eos_token_id", [third])
    return third


def alone(model, tokenizer, text: str, *, stops=()) -> list[int]:
    """Return the ids that follow a prompt, by the whole sequence read again for each of them."""
    ids = list(CONTRACT.prompt(tokenizer, text))
    start = len(ids)
    for _ in range(CONTRACT.answer_room(tokenizer)):
        with torch.no_grad():
            logits = model(torch.tensor([ids]), use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
        if ids[-1] in (*stops, tokenizer.eos_token_id):
            break
    return ids[start:]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_answers_are_those_of_each_row_alone(model, tokenizer, stops_early, batch_size, attention):
    model.set_attn_implementation(attention)
    found = generate_answers(model, tokenizer, CONTRACT, TEXTS, batch_size=batch_size)
    expected = [alone(model, tokenizer, text, stops=[stops_early]) for text in TEXTS]
    for one, ids in zip(found, expected, strict=True):
        assert one.finished == (ids[-1] == stops_early)
        spoken = ids[:-1] if one.finished else ids
        assert one.text == tokenizer.decode(spoken, clean_up_tokenization_spaces=False).strip()
    assert found[0].finished
    assert len(set(map(len, expected))) > 1, "rows end at different times"


def test_an_answer_has_no_more_room_than_its_contract_gives(model, tokenizer):
    (short,) = generate_answers(model, tokenizer, replace(CONTRACT, answer_tokens=2), ["Cash"])
    (long,) = generate_answers(model, tokenizer, replace(CONTRACT, answer_tokens=8), ["Cash"])
    assert not short.finished
    assert not long.finished
    assert long.text.startswith(short.text)
    assert len(long.text) > len(short.text)


def test_labels_can_be_written_too(model, tokenizer):
    contract = tasks.get("tfns").contract()
    (found,) = generate_answers(model, tokenizer, contract, ["Shares rose."])
    assert isinstance(found, Generated)


def test_the_bases_own_ways_of_sampling_play_no_part(model, tokenizer, monkeypatch):
    before = generate_answers(model, tokenizer, CONTRACT, TEXTS)
    for name, value in {
        "do_sample": True,
        "temperature": 50.0,
        "repetition_penalty": 5.0,
        "num_beams": 3,
        "max_new_tokens": 1,
    }.items():
        monkeypatch.setattr(model.generation_config, name, value)
    assert generate_answers(model, tokenizer, CONTRACT, TEXTS) == before


def test_order_and_progress_are_those_of_the_input(model, tokenizer):
    done: list[int] = []
    found = generate_answers(model, tokenizer, CONTRACT, TEXTS, batch_size=2, progress=done.append)
    assert done == [2, 4, 5]
    assert found == [generate_answers(model, tokenizer, CONTRACT, [text])[0] for text in TEXTS]
    assert generate_answers(model, tokenizer, CONTRACT, []) == []
    with pytest.raises(UsageError, match="batch_size is 0"):
        generate_answers(model, tokenizer, CONTRACT, TEXTS, batch_size=0)


def test_long_rows_share_a_batch_only_while_their_caches_fit(model, tokenizer, monkeypatch):
    together = generate_answers(model, tokenizer, CONTRACT, TEXTS)
    place = cache_memory(model.config, rows=1, length=1)
    monkeypatch.setattr(generation, "CACHE_BUDGET", 60 * place)
    done: list[int] = []
    apart = generate_answers(model, tokenizer, CONTRACT, TEXTS, progress=done.append)
    assert len(done) > 1
    assert apart == together


def test_a_text_that_leaves_no_room_is_named(model, tokenizer):
    with pytest.raises(TruncatedAnswerError, match=r"Input 2 has \d+ tokens; with 10"):
        generate_answers(model, tokenizer, CONTRACT, ["short", "very long " * 400])


@pytest.mark.parametrize("quantization", ["4bit", "8bit", "none"])
def test_a_model_learns_on_after_it_has_written(small_base, tokenizer, quantization):
    torch.manual_seed(0)
    model = get_peft_model(
        load_model(small_base, quantization=quantization),
        LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj", "v_proj"]),
    )
    model.train()
    plain = generate_answers(model, tokenizer, CONTRACT, TEXTS)
    assert model.training
    ids = torch.tensor([CONTRACT.prompt(tokenizer, TEXTS[1])])
    model(input_ids=ids, labels=ids).loss.backward()
    gradients = [p.grad.abs().sum() for n, p in model.named_parameters() if "lora_B" in n]
    assert all(gradient > 0 for gradient in gradients)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    assert generate_answers(model, tokenizer, CONTRACT, TEXTS) != plain
    with model.disable_adapter():
        assert generate_answers(model, tokenizer, CONTRACT, TEXTS) == plain


def test_what_prompts_begin_with_is_read_once(model, tokenizer, stops_early, monkeypatch):
    together = generate_answers(model, tokenizer, CONTRACT, TEXTS, batch_size=2)
    read: list[int] = []
    begun = Whole._read_once
    monkeypatch.setattr(
        Whole, "_read_once", lambda self, ids: read.append(len(ids)) or begun(self, ids)
    )
    assert generate_answers(model, tokenizer, CONTRACT, TEXTS, batch_size=2) == together
    assert len(read) == 1
    assert read[0] >= beginning.TOKENS
    monkeypatch.setattr(beginning, "TOKENS", 10**9)
    assert generate_answers(model, tokenizer, CONTRACT, TEXTS, batch_size=2) == together


def test_each_batch_is_kept_and_some_can_be_left_to_others(model, tokenizer):
    everything = generate_answers(model, tokenizer, CONTRACT, TEXTS, batch_size=2)
    kept: dict[int, Generated] = {}
    found = generate_answers(
        model,
        tokenizer,
        CONTRACT,
        TEXTS,
        batch_size=2,
        keep=lambda rows, results: kept.update(zip(rows, results, strict=True)),
        mine=lambda number, rows: number == 1,
    )
    assert len(kept) == 2
    assert found == [one if row in kept else None for row, one in enumerate(everything)]


def test_a_windowed_base_writes_what_each_row_gets_alone(tokenizer):
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=12,
        max_position_embeddings=512, bos_token_id=0, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    windowed = MistralForCausalLM(config).eval()
    found = generate_answers(windowed, tokenizer, CONTRACT, TEXTS, batch_size=3)
    for one, text in zip(found, TEXTS, strict=True):
        ids = alone(windowed, tokenizer, text)
        spoken = ids[:-1] if one.finished else ids
        assert one.text == tokenizer.decode(spoken, clean_up_tokenization_spaces=False).strip()


def test_rows_that_go_on_stay_where_they_are_but_for_the_holes():
    order, holes, movers = stay([1, 2, 5, 6], "cpu")
    assert order == [5, 1, 2, 6]
    assert holes.tolist() == [0, 3]
    assert movers.tolist() == [5, 6]
