"""Dividing rows: shares kept, groups whole, the same for any order of the rows."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from fin_qlora import tasks
from fin_qlora.data.splits import CONTRADICTORY, REPEATED, divided, tidied
from fin_qlora.errors import DataError
from fin_qlora.tasks import SplitRule

PARTS = ("train", "validation", "test")


def rows(n: int, groups: int = 0):
    return [
        {
            "text": f"text number {i}",
            "label": ("a", "b", "b", "b")[i % 4],
            **({"company": str(i % groups)} if groups else {}),
        }
        for i in range(n)
    ]


def test_shares_are_kept_in_every_stratum():
    rule = SplitRule(test=0.25, validation=0.1)
    found = divided(rows(400), rule, parts=PARTS)
    assert {part: len(held) for part, held in found.items()} == {
        "train": 260,
        "test": 100,
        "validation": 40,
    }
    for held in found.values():
        share = Counter(row["label"] for row in held)["a"] / len(held)
        assert share == pytest.approx(0.25, abs=0.02)


def test_the_division_follows_the_seed_and_not_the_order():
    plain = rows(200)
    mixed = random.Random(1).sample(plain, len(plain))
    rule = SplitRule(test=0.2)

    def test_texts(given, rule):
        return {row["text"] for row in divided(given, rule, parts=PARTS)["test"]}

    assert test_texts(plain, rule) == test_texts(mixed, rule)
    assert test_texts(plain, rule) != test_texts(plain, SplitRule(test=0.2, seed=1))


def test_another_row_moves_hardly_any_other():
    rule = SplitRule(test=0.2, stratify_by="")
    before = {row["text"] for row in divided(rows(200), rule, parts=PARTS)["test"]}
    after = {row["text"] for row in divided(rows(201), rule, parts=PARTS)["test"]}
    assert len(before - after) <= 1


def test_groups_are_never_cut():
    rule = SplitRule(test=0.3, group_by=("company",), stratify_by="")
    found = divided(rows(300, groups=30), rule, parts=PARTS)
    companies = [{row["company"] for row in held} for held in found.values()]
    assert not companies[0] & companies[1]
    assert len(found["test"]) == 90


def test_texts_with_the_same_words_and_chains_of_groups_stay_together():
    given = [
        {"text": "Profit up 5 %.", "label": "x", "company": "1"},
        {"text": "profit UP 5%", "label": "x", "company": "2"},
        {"text": "another", "label": "x", "company": "2"},
        *({"text": f"t{i}", "label": "x", "company": f"c{i}"} for i in range(9)),
    ]
    for seed in range(5):
        rule = SplitRule(test=0.5, seed=seed, group_by=("company", "text"))
        found = divided(given, rule, parts=PARTS)
        chain = [part for part, held in found.items() for row in held if row in given[:3]]
        assert len(set(chain)) == 1


def test_too_few_groups_are_an_error():
    with pytest.raises(DataError, match="too few"):
        divided(rows(10, groups=1), SplitRule(group_by=("company",)), parts=PARTS)


def test_tidying_keeps_a_question_once_and_no_contradiction():
    given = [
        {"text": "Same https://a.b", "label": "neutral"},
        {"text": "same", "label": "neutral"},
        {"text": "torn", "label": "neutral"},
        {"text": "Torn", "label": "positive"},
        {"text": "https://only.link/1", "label": "neutral"},
        {"text": "https://only.link/2", "label": "positive"},
    ]
    dropped: Counter[str] = Counter()
    kept = tidied(given, tasks.get("tfns"), dropped=dropped)
    assert [row["text"] for row in kept] == [given[0]["text"], given[4]["text"], given[5]["text"]]
    assert dropped == {REPEATED: 1, CONTRADICTORY: 2}


def test_two_explanations_of_a_term_do_not_contradict():
    given = [{"text": "Goodwill", "label": "one"}, {"text": "Goodwill", "label": "two"}]
    dropped: Counter[str] = Counter()
    assert len(tidied(given, tasks.get("xbrl_term"), dropped=dropped)) == 1
    assert dropped == {REPEATED: 1}
