"""The shipped tasks, and the labels of TFNS, which published code got wrong."""

from __future__ import annotations

import pytest

from fin_qlora import tasks
from fin_qlora.errors import UnknownLabelError, UnknownNameError


def test_tfns_reads_0_bearish_1_bullish_2_neutral():
    task = tasks.get("tfns")
    read = {raw: task.label_from_raw(raw, place="here") for raw in ("0", "1", "2")}
    assert read == {"0": "negative", "1": "positive", "2": "neutral"}
    assert task.label_names == ("negative", "neutral", "positive")


def test_an_unknown_label_names_the_row_and_what_is_accepted():
    with pytest.raises(UnknownLabelError, match=r"row 7 has the label '3'.*0 \(negative\)"):
        tasks.get("tfns").label_from_raw("3", place="row 7")


def test_a_misspelt_task_is_told_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'tfns'"):
        tasks.get("tfsn")


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_can_be_asked(name):
    task = tasks.get(name)
    row = {"text": "Some text.", **dict.fromkeys(task.fields, "Some")}
    instruction, text = task.contract().render(row)
    assert all(label in instruction for label in task.label_names)
    assert text.startswith("Some text.")
    assert task.synthetic == bool(task.source.generator)
