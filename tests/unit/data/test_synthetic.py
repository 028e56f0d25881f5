"""The demo's data: repeatable, uneven, and with a test half that train never saw."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from fin_qlora.data import synthetic, synthetic_wordings
from fin_qlora.errors import DataError, UsageError

MAKERS = [synthetic.sentiment_rows, synthetic.ner_rows]


@pytest.mark.parametrize("make", MAKERS)
def test_same_seed_same_rows_and_another_seed_others(make):
    assert make("train", 50, 7) == make("train", 50, 7)
    assert make("train", 50, 7) != make("train", 50, 8)
    assert make("train", 50, 7) != make("test", 50, 7)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("n", [0, 1, 10, 300])
def test_exactly_as_many_rows_as_asked_for(make, n):
    assert len(make("test", n, 0)) == n


def test_a_sentiment_row_has_text_and_label():
    for row in synthetic.sentiment_rows("train", 200, 1):
        assert set(row) == {"text", "label"}
        assert row["label"] in ("negative", "neutral", "positive")
        assert not re.search(r"[{}]|\.\.", row["text"])


def test_an_entity_stands_in_its_text():
    for row in synthetic.ner_rows("train", 300, 1):
        assert set(row) == {"text", "entity", "label"}
        assert row["label"] in ("person", "organization", "location")
        assert row["entity"] in row["text"]


@pytest.mark.parametrize(
    ("make", "shares"),
    [
        (synthetic.sentiment_rows, synthetic.SENTIMENT_SHARES),
        (synthetic.ner_rows, synthetic.ENTITY_SHARES),
    ],
)
def test_labels_are_uneven_but_none_is_rare(make, shares):
    counts = Counter(row["label"] for row in make("test", 300, 3))
    assert {label: count / 300 for label, count in counts.items()} == pytest.approx(
        shares, abs=0.01
    )
    assert len(set(counts.values())) == 3
    assert max(shares.values()) <= 0.45
    assert sum(shares.values()) == pytest.approx(1)


def test_the_two_halves_share_no_wording_and_no_name():
    synthetic.assert_disjoint()
    train, test = synthetic.pools("train"), synthetic.pools("test")
    assert len(test.wordings) >= 30
    assert len(train.wordings) >= 80
    assert len(test.stems) >= 60
    assert len(train.stems) >= 200


def test_no_name_of_a_train_row_is_in_a_test_row():
    train = synthetic.pools("train")
    names = re.compile(r"\b(" + "|".join((*train.stems, *train.first_names)) + r")\b")
    for make in MAKERS:
        assert not [row for row in make("test", 400, 5) if names.search(row["text"])]


def test_a_shared_wording_is_found(monkeypatch):
    shared = synthetic_wordings.AGREEMENTS["train"][0]
    monkeypatch.setitem(synthetic_wordings.AGREEMENTS, "test", (shared,))
    synthetic.pools.cache_clear()
    try:
        with pytest.raises(DataError, match="share"):
            synthetic.assert_disjoint()
    finally:
        synthetic.pools.cache_clear()


def test_another_split_is_refused():
    with pytest.raises(UsageError, match="'dev'"):
        synthetic.pools("dev")


def test_the_halves_do_not_depend_on_how_many_rows_are_drawn():
    few = {row["text"] for row in synthetic.sentiment_rows("test", 200, 0)}
    assert len(few) > 190


def test_generators_are_named_as_the_tasks_name_them():
    assert set(synthetic.GENERATORS) == {"sentiment", "ner"}
