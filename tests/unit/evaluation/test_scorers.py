"""The paper's habits one by one, and what is left without any of them: the strict scorer."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fin_qlora.errors import EmptyDatasetError, UsageError
from fin_qlora.evaluation.scorers import (
    DEVIATIONS,
    Deviation,
    Saved,
    finlora,
    paper,
    saved_answers,
    strict,
)
from fin_qlora.tasks import get

SEVEN = get("nwgi").label_names


def saved(task: str, *pairs: tuple[str, str], text: str = "Shares rose.") -> Saved:
    chosen = get(task)
    return Saved(
        task=task,
        labels=chosen.label_names,
        grammar=chosen.answer,
        texts=tuple(output for output, _ in pairs),
        rows=tuple({"text": text, "label": gold} for _, gold in pairs),
    )


def read(task: str, *outputs: str, **options) -> list[str | None]:
    gold = get(task).label_names[0]
    return list(paper(saved(task, *((output, gold) for output in outputs)), **options).read)


def test_strict_takes_the_label_alone():
    found = strict(
        saved(
            "fpb",
            ("positive", "positive"),
            (" negative\n", "negative"),
            ("The answer is neutral.", "neutral"),
            ("Positive", "positive"),
            ("", "neutral"),
        )
    )
    assert found.right == (True, True, False, False, False)
    assert found.read == ("positive", "negative", None, None, None)
    assert (found.n, found.scored, found.accuracy, found.invalid) == (5, 5, 0.4, 3)


def test_strict_reads_free_answers_as_the_task_does():
    found = strict(saved("xbrl_value", ("1.5 thousand", "1500"), ("-1500", "1500"), ("?", "1500")))
    assert found.right == (True, False, False)
    assert (found.accuracy, found.weighted_f1, found.invalid) == (1 / 3, None, 1)


def test_sentiment_is_found_anywhere_and_the_rest_is_neutral():
    assert read(
        "fpb",
        "not negative but positive",
        "Negative, I think",
        "neutral",
        "",
        "I cannot say",
        "POSITIVE",
        "negative/neutral/positive",
    ) == ["positive", "negative", "neutral", "neutral", "neutral", "neutral", "positive"]


def test_an_empty_answer_scores_the_share_of_neutral():
    rows = [("", "neutral")] * 6 + [("", "positive")] * 3 + [("", "negative")]
    published = paper(saved("fpb", *rows))
    assert published.accuracy == 0.6
    assert published.weighted_f1 == pytest.approx(0.6 * 2 * 6 / 16)
    assert strict(saved("fpb", *rows)).accuracy == 0
    with_invalid = paper(saved("fpb", *rows), deviations=("substring",))
    assert (with_invalid.accuracy, with_invalid.invalid) == (0, 10)


def test_seven_steps_fall_into_three():
    pairs = (
        ("strong positive", "mildly positive"),
        ("neutral", "mildly negative"),
        ("mildly negative", "strong negative"),
    )
    published = paper(saved("nwgi", *pairs))
    assert published.right == (True, False, True)
    assert published.read == ("positive", "neutral", "negative")
    assert strict(saved("nwgi", *pairs)).accuracy == 0
    alone = paper(saved("nwgi", *pairs), deviations=("substring",))
    assert alone.read == ("strong positive", "neutral", "mildly negative")


def test_f1_of_seven_steps_weighs_by_what_was_predicted():
    pairs = [("mildly positive", "mildly positive")] * 6 + [("neutral", "mildly positive")] * 2
    pairs += [("neutral", "neutral")] * 2
    published = paper(saved("nwgi", *pairs))
    usual = paper(
        saved("nwgi", *pairs),
        deviations=[one for one in get_args(Deviation) if one != "exchanged_f1"],
    )
    positive, neutral = 2 * 6 / (8 + 6), 2 * 2 / (2 + 4)
    assert usual.weighted_f1 == pytest.approx(0.8 * positive + 0.2 * neutral)
    assert published.weighted_f1 == pytest.approx(0.6 * positive + 0.4 * neutral)
    assert published.accuracy == usual.accuracy == 0.8


def test_yes_before_no_and_no_in_know():
    assert read("headline", "Yes", "no", "I do not know", "yes and no", "maybe") == [
        "Yes",
        "No",
        "No",
        "Yes",
        None,
    ]


def test_organization_before_person_before_location():
    found = read("ner", "location, person", "PERSON", "a location", "person or organization", "?")
    assert found == ["person", "person", "location", "organization", None]


def test_free_answers_need_only_begin_with_the_right_one():
    pairs = [("us-gaap:AssetsCurrent", "us-gaap:Assets"), ("Assets", "us-gaap:Assets")]
    assert paper(saved("xbrl_tag", *pairs), batch_size=1).right == (True, False)
    assert strict(saved("xbrl_tag", *pairs)).right == (False, True)
    numbers = [("150", "15"), (" 15", "15"), ("$15", "15")]
    assert paper(saved("xbrl_value", *numbers), batch_size=1).right == (True, True, False)


def test_the_last_incomplete_batch_is_dropped():
    pairs = [("1", "1")] * 8 + [("2", "1")] * 3
    published = paper(saved("xbrl_value", *pairs))
    assert (published.n, published.scored, published.accuracy) == (11, 8, 1.0)
    assert published.right[8:] == (None, None, None)
    assert paper(saved("xbrl_value", *pairs), batch_size=2).scored == 10
    assert published.weighted_f1 == 0, "a constant"
    assert paper(saved("xbrl_value", *pairs), deviations=("starts_with",)).scored == 11
    with pytest.raises(EmptyDatasetError, match="no whole batch of 8"):
        paper(saved("xbrl_value", *pairs[:7]))


def test_what_counts_is_the_piece_after_the_first_answer_sign():
    runs_on = saved("ner", ("person\nAnswer: location, organization", "person"))
    assert paper(runs_on).right == (True,)
    assert paper(runs_on, deviations=("substring",)).right == (False,)
    # a text that has the sign itself is taken for the output
    quoted = saved("ner", ("person", "person"), text="Q: who? Answer: the organization")
    assert paper(quoted).read == ("organization",)
    assert strict(quoted).right == (True,)


@pytest.mark.parametrize("task", ["fpb", "nwgi", "ner", "headline", "xbrl_value", "xbrl_tag"])
@given(
    outputs=st.lists(
        st.sampled_from(
            [
                *SEVEN,
                "positive",
                "Yes",
                "person",
                "12",
                "1,2",
                "us-gaap:Cash",
                "Answer: positive",
                "",
                "the answer is negative",
            ]
        ),
        min_size=1,
        max_size=8,
    )
)
def test_without_any_habit_it_is_the_strict_scorer(task, outputs):
    gold = {"xbrl_value": "12", "xbrl_tag": "us-gaap:Cash"}.get(task) or get(task).label_names[0]
    one = saved(task, *((output, gold) for output in outputs))
    plain, bare = strict(one), paper(one, deviations=())
    assert bare.right == plain.right
    assert bare.read == plain.read
    assert bare.to_dict() | {"scorer": "strict"} == {
        **plain.to_dict(),
        "weighted_f1": plain.weighted_f1
        if plain.weighted_f1 is None
        else pytest.approx(plain.weighted_f1),
    }


@pytest.mark.parametrize("habit", get_args(Deviation))
def test_each_habit_changes_something(habit):
    cases = [
        saved("fpb", ("it is positive", "positive"), ("", "neutral")),
        saved(
            "nwgi",
            ("mildly positive", "strong positive"),
            ("mildly positive", "strong positive"),
            ("neutral", "neutral"),
            ("neutral", "strong positive"),
        ),
        saved("ner", ("person\nAnswer: organization", "person")),
        saved("xbrl_value", *[("1500", "15")] * 9, ("15", "15")),
    ]
    others = [one for one in get_args(Deviation) if one != habit]
    changed = [
        paper(case).to_dict() != paper(case, deviations=others).to_dict()
        or paper(case).right != paper(case, deviations=others).right
        for case in cases
    ]
    assert any(changed)
    assert DEVIATIONS[habit].endswith(".")


def test_labels_that_the_paper_does_not_know_have_no_rule():
    own = Saved(
        task="own",
        labels=("hawkish", "dovish"),
        grammar="label",
        texts=("dovish",),
        rows=({"text": "x", "label": "dovish"},),
    )
    assert strict(own).accuracy == 1
    with pytest.raises(UsageError, match="no rule for the labels hawkish, dovish"):
        paper(own)


def test_saved_rows_give_what_was_written_or_else_the_likeliest_label():
    rows = [
        {"text": "x", "gold": "person", "output": " person", "predicted": "location"},
        {"text": "x", "gold": "person", "output": None, "predicted": "location"},
        {"text": "x", "gold": "person", "output": "", "predicted": "person"},
    ]
    found = saved_answers("ner", labels=get("ner").label_names, grammar="label", rows=rows)
    assert found.texts == (" person", "location", "")
    assert found.golds == ["person"] * 3


def test_no_row_is_an_error():
    for scorer in (strict, paper, finlora):
        with pytest.raises(EmptyDatasetError):
            scorer(saved("fpb"))


def test_finlora_takes_the_right_answer_that_stands_first():
    pairs = [
        ("The answer is POSITIVE, not negative", "positive"),
        ("neutral", "negative"),
        ("", "neutral"),
        ("negative/neutral/positive", "negative"),
    ]
    found = finlora(saved("fpb", *pairs))
    assert found.right == (True, False, False, True)
    assert (found.accuracy, found.invalid, found.bounds) == (0.5, 1, (0.5, 0.5))
    # a wrong answer is a false positive only where it is a label to the letter
    assert found.weighted_f1 == pytest.approx(0.25 * 1 + 0.5 * 2 / 3 + 0)
    wordy = finlora(saved("fpb", ("positive", "positive"), ("It is positive", "negative")))
    assert (wordy.accuracy, wordy.weighted_f1) == (0.5, 0.5)


def test_finlora_knows_only_the_labels_that_the_file_has():
    found = finlora(saved("fpb", ("neutral positive", "positive")))
    assert found.accuracy == 1, "no row is neutral, so that neutral is no label"


def test_finlora_leaves_it_to_chance_which_of_two_beginnings_is_read():
    found = finlora(saved("xbrl_value", ("15", "15"), ("150", "150"), ("7", "7")))
    assert found.right == (True, False, True)
    assert found.bounds == (2 / 3, 1.0)
    assert strict(saved("xbrl_value", ("15", "15"), ("150", "150"), ("7", "7"))).accuracy == 1


def test_finlora_judges_what_comes_last_and_lists_by_their_parts():
    assert finlora(saved("ner", ("person\nAnswer: location", "person"))).accuracy == 0
    one = saved("finer", ("A, B", "A,B,C"), ("A,B,C,D", "A,B,X"))
    parts = finlora(replace(one, grammar="list"))
    assert (parts.n, parts.scored, parts.accuracy) == (2, 6, 4 / 6)
    assert parts.right == (False, False)
    with pytest.raises(UsageError, match="prose"):
        finlora(saved("xbrl_term", ("cash", "cash")))
