"""Figures of lengths are those of the rows, in numbers and in the picture."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fin_qlora import tasks
from fin_qlora.data.encode import encode_rows
from fin_qlora.data.length_figure import svg, write_figure
from fin_qlora.data.lengths import PERCENTILES, histogram, measure, percentiles
from fin_qlora.errors import MissingDependencyError, UsageError

CONTRACT = tasks.get("tfns").contract()
ROWS = [
    {"text": "up " * (n % 40 + 1), "label": CONTRACT.labels[0 if n % 4 else 1]} for n in range(80)
]
lengths_of_rows = st.lists(st.integers(1, 5000), min_size=1, max_size=300)


@pytest.fixture(scope="module")
def lengths(tokenizer):
    encoded = encode_rows(ROWS, contract=CONTRACT, tokenizer=tokenizer, max_length=None)
    return measure(encoded, ROWS)


def test_the_figures_are_those_of_the_rows(lengths, tokenizer):
    alone = [len(CONTRACT.encode(tokenizer, row, row["label"]).input_ids) for row in ROWS]
    assert lengths.rows == 80
    assert lengths.percentiles[0] == min(alone)
    assert lengths.percentiles[100] == max(alone)
    assert lengths.mean == pytest.approx(sum(alone) / 80)
    assert lengths.answers == {"negative": 60, "neutral": 20}
    assert list(lengths.answers) == ["negative", "neutral"]
    assert lengths.smallest_limit == 128
    assert lengths.beyond == {}
    assert lengths.trained_tokens == sum(
        len(CONTRACT.answer(tokenizer, row["label"])) for row in ROWS
    )


@given(lengths_of_rows)
def test_every_row_is_in_exactly_one_bar(lengths):
    bars = histogram(lengths)
    assert sum(bar.rows for bar in bars) == len(lengths)
    assert all(a.last + 1 == b.first for a, b in pairwise(bars))
    assert len(bars) <= 22
    for bar in bars:
        assert bar.rows == sum(bar.first <= length <= bar.last for length in lengths)
    assert bars[0].rows
    assert bars[-1].rows


@given(lengths_of_rows)
def test_a_percentile_is_a_row_with_that_share_at_or_below_it(lengths):
    found = percentiles(lengths)
    assert list(found) == list(PERCENTILES)
    counts = Counter(lengths)
    for percent, length in found.items():
        assert counts[length]
        below = sum(other <= length for other in lengths)
        assert below >= percent / 100 * len(lengths)
        assert sum(other < length for other in lengths) <= percent / 100 * len(lengths)


def test_the_picture_says_the_numbers(lengths):
    root = ElementTree.fromstring(svg(lengths, title="a & b < c"))
    space = "{http://www.w3.org/2000/svg}"
    words = [text.text for text in root.iter(f"{space}text")]
    assert "a & b < c: 80 rows" in words
    assert f"95 %: {lengths.percentiles[95]:,}" in words
    bars = [rect for rect in root.iter(f"{space}rect") if rect.find(f"{space}title") is not None]
    assert len(bars) == len(lengths.bars)
    tallest = max(lengths.bars, key=lambda bar: bar.rows)
    heights = [float(bar.get("height")) for bar in bars]
    assert heights.index(max(heights)) == lengths.bars.index(tallest)


def test_files_are_written_whole_in_the_kind_that_their_name_says(lengths, tmp_path):
    write_figure(tmp_path / "a.svg", lengths, title="t")
    assert (tmp_path / "a.svg").read_text("utf-8").startswith("<svg ")
    with pytest.raises(UsageError, match=r"\.svg"):
        write_figure(tmp_path / "a.pdf", lengths, title="t")


def test_a_png_is_drawn_with_the_extra(lengths, tmp_path):
    pytest.importorskip("matplotlib")
    write_figure(tmp_path / "a.png", lengths, title="t")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_png_without_the_extra_names_it(lengths, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match="plots"):
        write_figure(tmp_path / "a.png", lengths, title="t")
    assert list(tmp_path.iterdir()) == []
