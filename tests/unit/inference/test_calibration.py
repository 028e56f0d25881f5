"""A calibration finds the temperature that spoiled the scores, and says when it has too little."""

from __future__ import annotations

import math
import random

import pytest

from fin_qlora.errors import DataError, EmptyDatasetError, UnknownLabelError
from fin_qlora.inference.calibration import Calibration, fit

LABELS = ("negative", "neutral", "positive")


def drawn_rows(count: int, *, temperature: float = 1.0, bias=(0.0, 0.0, 0.0), seed: int = 0):
    """Rows whose right labels are drawn from the true probabilities, and scores that are off."""
    chosen = random.Random(seed)
    rows, gold = [], []
    for _ in range(count):
        true = [chosen.gauss(0, 2) for _ in LABELS]
        weights = [math.exp(value) for value in true]
        gold.append(chosen.choices(LABELS, weights)[0])
        common = chosen.gauss(-20, 5)  # what all labels share says nothing
        rows.append(
            {
                label: (value - off) * temperature + common
                for label, value, off in zip(LABELS, true, bias, strict=True)
            }
        )
    return rows, gold


def mean_loss(rows, gold, calibration=None) -> float:
    plain = Calibration(temperature=1.0, rows=1, before=0, after=0)
    found = [(calibration or plain).probabilities(row) for row in rows]
    return sum(-math.log(one[label]) for one, label in zip(found, gold, strict=True)) / len(gold)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found(temperature):
    found = fit(*drawn_rows(4000, temperature=temperature), bias="never")
    assert found.temperature == pytest.approx(temperature, rel=0.1)
    assert found.bias == {}
    assert found.rows == 4000


def test_rows_that_were_set_apart_become_likelier():
    rows, gold = drawn_rows(400, temperature=4.0)
    found = fit(rows[:200], gold[:200])
    assert found.after < found.before
    assert found.before == pytest.approx(mean_loss(rows[:200], gold[:200]))
    assert found.after == pytest.approx(mean_loss(rows[:200], gold[:200], found))
    assert mean_loss(rows[200:], gold[200:], found) < 0.6 * mean_loss(rows[200:], gold[200:])


def test_a_bias_is_taken_only_where_it_helps():
    assert fit(*drawn_rows(300, temperature=2.0)).bias == {}
    rows, gold = drawn_rows(600, temperature=2.0, bias=(3.0, 0.0, 0.0))
    found = fit(rows, gold)
    assert found.bias["negative"] - found.bias["neutral"] == pytest.approx(3.0, abs=0.6)
    assert found.after < fit(rows, gold, bias="never").after


def test_the_order_of_labels_by_probability_is_kept_without_a_bias():
    rows, gold = drawn_rows(200, temperature=5.0)
    found = fit(rows, gold, bias="never")
    for row in rows:
        one = found.probabilities(row)
        assert sum(one.values()) == pytest.approx(1)
        assert sorted(one, key=one.get) == sorted(row, key=row.get)


def test_rows_that_are_all_right_do_not_make_it_certain():
    rows = [{"a": -1.0, "b": -2.0}, {"a": -2.0, "b": -1.0}] * 20
    found = fit(rows, ["a", "b"] * 20)
    assert 0.1 < found.temperature < 1
    assert max(found.probabilities(rows[0]).values()) < 0.9999


def test_what_is_written_is_read_back():
    found = fit(*drawn_rows(200, bias=(2.0, 0.0, -2.0)), bias="always")
    assert set(found.bias) == set(LABELS)
    assert Calibration.from_dict(found.to_dict()) == found
    plain = fit(*drawn_rows(200), bias="never")
    assert "bias" not in plain.to_dict()
    for spoilt in ({"temperature": 0.0}, {"temperature": float("nan")}, {"more": 1}):
        with pytest.raises(DataError):
            Calibration.from_dict(plain.to_dict() | spoilt)


def test_too_few_rows_and_odd_ones_are_refused():
    rows, gold = drawn_rows(30)
    with pytest.raises(EmptyDatasetError, match="There are 19 rows to calibrate on; 20"):
        fit(rows[:19], gold[:19])
    with pytest.raises(UnknownLabelError, match="'up' is none"):
        fit(rows, ["up", *gold[1:]])
    with pytest.raises(DataError, match="different labels"):
        fit([{"negative": 0.0}, *rows[1:]], gold)
    with pytest.raises(DataError, match="not finite"):
        fit([dict.fromkeys(LABELS, math.nan), *rows[1:]], gold)
