"""The chat template's traps: the date, the end of a turn, a template that is not there."""

from __future__ import annotations

import copy

import pytest

from fin_qlora.errors import ContractError
from fin_qlora.prompts import PromptContract, Shot

LABELS = ("no", "yes")


@pytest.fixture
def with_template(tokenizer):
    def change(template: str | None):
        changed = copy.deepcopy(tokenizer)
        changed.chat_template = template
        return changed

    return change


def contract(**changes) -> PromptContract:
    return PromptContract(**{"form": "chat", "instruction": "Up?", "labels": LABELS, **changes})


def test_shots_are_turns_of_the_conversation(tokenizer):
    shot = Shot(instruction="Up?", input="It rose.", answer="yes")
    text = tokenizer.decode(contract(shots=(shot,)).prompt(tokenizer, "It fell."))
    user, said = "<|start_header_id|>user<|end_header_id|>\n\n", "<|start_header_id|>assistant"
    assert text == (
        f"<|begin_of_text|>{user}Up?\n\nIt rose.<|eot_id|>{said}<|end_header_id|>\n\nyes<|eot_id|>"
        f"{user}Up?\n\nIt fell.<|eot_id|>{said}<|end_header_id|>\n\n"
    )


def test_a_date_in_the_template_never_moves(with_template):
    dated = with_template(
        "{% if not date_string is defined %}{% set date_string = strftime_now('%Y') %}{% endif %}"
        "Today Date: {{ date_string }}\n{% for m in messages %}{{ m['content'] }}<|eot_id|>"
        "{% endfor %}"
    )
    assert "Today Date: 26 Jul 2024\n" in dated.decode(contract().prompt(dated, "x"))


def test_a_template_that_asks_the_clock_is_refused(with_template):
    today = with_template("{{ strftime_now('%Y') }}{% for m in messages %}{{ m['content'] }}"
                          "<|eot_id|>{% endfor %}")  # fmt: skip
    with pytest.raises(ContractError, match="today"):
        contract().prompt(today, "x")


def test_no_template_is_an_error(with_template):
    with pytest.raises(ContractError, match="no chat template"):
        contract().prompt(with_template(None), "x")


def test_the_end_is_what_follows_the_answer_not_what_opens_it(with_template):
    closed = with_template(
        "{% for m in messages %}<|start_header_id|>{{ m['content'] }}<|end_of_text|>\n{% endfor %}"
    )
    assert contract().end_token(closed) == closed.eos_token_id
    open_ended = with_template(
        "{% for m in messages %}<|start_header_id|>{{ m['content'] }}{% endfor %}"
    )
    with pytest.raises(ContractError, match="closes no turn"):
        contract().end_token(open_ended)
