"""Worked examples: balanced, drawn by the seed from what the rows say, never trained on."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from fin_qlora.errors import ContractError, EmptyDatasetError, UnknownLabelError, UsageError
from fin_qlora.prompts import PromptContract, Shot, choose_shots, without_shots

LABELS = ("negative", "neutral", "positive")
CONTRACT = PromptContract(instruction="What is it?", labels=LABELS)
# nine in ten are neutral
ROWS = [
    {"text": f"row {number}", "label": LABELS[number % 10 if number % 10 in (0, 2) else 1]}
    for number in range(90)
]


def chosen(count: int, *, seed: int = 0, rows=ROWS, contract=CONTRACT) -> tuple[Shot, ...]:
    return choose_shots(contract, rows, count=count, seed=seed)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 7, 9])
def test_labels_take_turns_whatever_their_share(count):
    counts = Counter(shot.answer for shot in chosen(count))
    assert sum(counts.values()) == count
    assert not counts or max(counts.values()) - min(counts[label] for label in LABELS) <= 1
    assert len(set(chosen(count))) == count


def test_the_seed_and_the_rows_decide_not_their_order():
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    assert chosen(6) == chosen(6, rows=shuffled) == chosen(6, rows=[*ROWS, ROWS[0]])
    assert len({chosen(6, seed=seed) for seed in range(5)}) == 5


def test_long_rows_are_passed_over():
    rows = [*ROWS, *({"text": "long " * 200 + str(n), "label": "positive"} for n in range(40))]
    assert all(len(shot.input) < 20 for shot in chosen(9, rows=rows))


def test_free_answers_differ_and_templates_are_filled():
    free = PromptContract(
        instruction="Which tag?", input_template="{text}\nQ: {question}", grammar="tag"
    )
    rows = [{"text": "<x/>", "question": f"q{n}", "label": f"us-gaap:T{n % 4}"} for n in range(40)]
    shots = chosen(4, rows=rows, contract=free)
    assert {shot.answer for shot in shots} == {f"us-gaap:T{n}" for n in range(4)}
    assert all(shot.input.startswith("<x/>\nQ: q") for shot in shots)


def test_more_shots_than_rows_is_an_error():
    with pytest.raises(EmptyDatasetError, match="5 shots"):
        chosen(5, rows=ROWS[:4])
    with pytest.raises(UsageError):
        chosen(-1)


def test_no_row_is_trained_on_that_stands_in_its_own_prompt():
    contract = replace(CONTRACT, shots=chosen(3))
    left = without_shots(contract, [*ROWS, *ROWS])
    assert len(left) == 2 * (len(ROWS) - 3)
    assert not {row["text"] for row in left} & {shot.input for shot in contract.shots}
    assert without_shots(CONTRACT, ROWS) == ROWS


def test_answers_in_shots_are_spelled_as_the_trained_one_is(tokenizer):
    contract = replace(CONTRACT, shots=chosen(2))
    ids = contract.prompt(tokenizer, "the question")
    for shot in contract.shots:
        spelled = contract.answer(tokenizer, shot.answer)[:-1]
        assert any(ids[at : at + len(spelled)] == spelled for at in range(len(ids)))
    assert tokenizer.decode(ids[1:]) == contract.prompt_text("the question")
    zero = CONTRACT.prompt(tokenizer, "the question")
    assert ids[-len(zero) + 1 :] == zero[1:]
    assert tokenizer.eos_token_id not in ids


def test_a_shot_must_have_one_of_the_labels():
    with pytest.raises(UnknownLabelError):
        replace(CONTRACT, shots=(Shot(instruction="", input="", answer="great"),))


def test_shots_travel_inside_the_contract_and_its_digest():
    one, other = (replace(CONTRACT, shots=chosen(2, seed=seed)) for seed in (0, 1))
    assert len({CONTRACT.digest, one.digest, other.digest}) == 3
    assert PromptContract.from_dict(one.to_dict()) == one
    assert one.bare == CONTRACT
    stored = one.to_dict()
    stored["shots"][0]["system"] = "be brief"
    with pytest.raises(ContractError, match="system"):
        PromptContract.from_dict(stored)
