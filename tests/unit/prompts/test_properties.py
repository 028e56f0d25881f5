"""What holds of every prompt, whatever the text, the label and the budget."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fin_qlora.errors import ContractError, TruncatedAnswerError
from fin_qlora.prompts import IGNORED, PromptContract, Shot
from fin_qlora.prompts.shorten import MARK

_file = Path(__file__).with_name("strategies.py")
_spec = importlib.util.spec_from_file_location("prompt_strategies", _file)
strategies = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(strategies)
LABELS, forms, texts = strategies.LABELS, strategies.forms, strategies.texts

CONTRACT = PromptContract(
    instruction="What is the sentiment of this about {who}?",
    input_template="{text}\nQuestion: {question}",
    labels=LABELS,
)
SHOTS = (
    Shot(instruction="What is the sentiment of this about A?", input="A rose.", answer="positive"),
    Shot(instruction="What is the sentiment of this about B?", input="B fell.", answer="negative"),
)
rows = st.fixed_dictionaries(
    {
        "text": texts.filter(str.strip),
        "who": st.sampled_from(["Acme", "the bank's \n board", "株式会社"]),
        "question": st.sampled_from(["Up?", "What, in  the end, is \u00e9 it?"]),
    }
)
shots = st.sampled_from([(), SHOTS[:1], SHOTS])


def contract(form, shots=(), **changes) -> PromptContract:
    return replace(CONTRACT, form=form, shots=shots, **changes)


@given(row=rows, form=forms, shots=shots, label=st.sampled_from(LABELS))
def test_nothing_is_trained_but_the_answer_and_its_end(tokenizer, row, form, shots, label):
    one = contract(form, shots)
    example = one.encode(tokenizer, row, label)
    answer = one.answer(tokenizer, label)
    prompt = one.prompt(tokenizer, row)
    assert example.input_ids == prompt + answer
    assert example.labels == [IGNORED] * len(prompt) + answer
    assert example.labels[-1] == one.end_token(tokenizer) == one.stop_tokens(tokenizer)[0]
    assert tokenizer.pad_token_id not in one.stop_tokens(tokenizer)
    assert tokenizer.pad_token_id not in example.input_ids
    assert one.decode(tokenizer, answer) == label
    assert prompt.count(tokenizer.bos_token_id) == 1


@given(many=st.lists(rows, min_size=2, max_size=6), form=forms, shots=shots)
def test_prompts_made_together_are_those_made_alone(tokenizer, many, form, shots):
    one = contract(form, shots)
    assert one.prompts(tokenizer, many) == [one.prompt(tokenizer, row) for row in many]


@given(row=rows, form=forms, shots=shots, budget=st.integers(1, 260))
def test_a_shortened_prompt_fits_and_keeps_instruction_question_and_answer(
    tokenizer, row, form, shots, budget
):
    whole = contract(form, shots)
    one = contract(form, shots, shorten_to=budget)
    room = budget - one.answer_room(tokenizer)
    before = whole.prompt(tokenizer, row)
    try:
        (fitted,) = one.fitted(tokenizer, [row])
    except TruncatedAnswerError:
        assert len(before) > room
        return
    assert one.prompt(tokenizer, row) == fitted.ids
    assert len(fitted.ids) <= room
    for label in LABELS:  # whatever the answer is, there is room for all of it
        assert len(one.encode(tokenizer, row, label).input_ids) <= budget
    if len(before) <= room:
        assert fitted.ids == before
        assert fitted.text is None
        return
    assert fitted.cut_tokens == len(before) - len(fitted.ids) > 0
    assert fitted.ids == whole.prompt(tokenizer, {**row, "text": fitted.text})
    read = tokenizer.decode(fitted.ids, clean_up_tokenization_spaces=False)
    assert f"Question: {row['question']}" in read
    assert whole.question(row).instruction in read
    assert MARK in read
    for shot in shots:
        assert shot.input in read


@given(
    text=texts,
    place=st.integers(0, 300),
    number=st.integers(0, 5),
    form=forms,
    field=st.sampled_from(["text", "who", "question"]),
)
def test_a_forged_control_token_is_refused_wherever_it_stands(
    tokenizer, text, place, number, form, field
):
    token = tokenizer.all_special_tokens[number % len(tokenizer.all_special_tokens)]
    at = min(place, len(text))
    row = {"text": "t", "who": "w", "question": "q", field: text[:at] + token + text[at:]}
    with pytest.raises(ContractError, match="special token"):
        contract(form).prompt(tokenizer, row)
    with pytest.raises(ContractError, match="special token"):
        contract(form).prompts(tokenizer, [{"text": "t", "who": "w", "question": "q"}, row])


@given(answer=texts, form=forms)
def test_a_free_answer_is_trained_whole_and_read_back(tokenizer, answer, form):
    assume(answer.strip())
    one = PromptContract(form=form, instruction="What is it?", grammar="text")
    ids = one.answer(tokenizer, answer.strip())
    assert one.decode(tokenizer, ids) == answer.strip()
    assert ids[-1] == one.end_token(tokenizer)
    assert one.end_token(tokenizer) not in ids[:-1]
