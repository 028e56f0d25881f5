"""The shipped tasks, and the labels of TFNS, which published code got wrong."""

from __future__ import annotations

import pytest

from fin_qlora import tasks
from fin_qlora.data.sources import SHAPES
from fin_qlora.errors import UnknownLabelError, UnknownNameError, UsageError


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
    if task.options_by:
        row["options"] = ", ".join(task.label_names)
    instruction, text = task.contract().render(row)
    if not task.view_of:
        assert all(label in instruction for label in task.label_names)
    assert text.startswith("Some text.")
    assert task.synthetic == bool(task.source.generator)


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_says_what_it_is(name):
    task = tasks.get(name)
    assert task.title
    assert task.licence.name
    assert task.metrics
    assert (task.answer == "label") == bool(task.labels)
    assert all(label.meaning for label in task.labels)
    assert set(task.options_by) <= {"text", *task.fields}
    for form in task.source.forms:
        assert form.shape in SHAPES
        assert all(not file.sha256 or len(file.sha256) == 64 for file in form.files)
        assert not form.reference or form.note


def test_the_tasks_of_the_issue_are_there():
    assert set(tasks.names()) >= set(
        "fpb fiqa_sa tfns nwgi headline ner xbrl_tag xbrl_value xbrl_formula_construction "
        "xbrl_formula_calculation finer fnxl xbrl_term financial_math financebench".split()
    )


def test_what_is_not_for_commercial_use_is_marked():
    marked = {task.name for task in tasks.shipped() if task.licence.noncommercial}
    assert marked == {"fpb", "financebench"}


def test_nwgi_keeps_seven_labels_and_the_view_maps_them_to_three():
    seven, three = tasks.get("nwgi"), tasks.get("nwgi_three")
    assert len(seven.labels) == 7
    mapped = {name: three.label_from_raw(name, place="here") for name in seven.label_names}
    assert list(mapped.values()) == ["negative"] * 3 + ["neutral"] + ["positive"] * 3
    assert three.view_of == "nwgi"


def test_options_are_set_by_name_and_checked():
    task = tasks.get("fpb")
    assert task.with_options({"min_agreement": "75"}).option("min_agreement") == 75
    assert task.option("min_agreement") == 50
    with pytest.raises(UnknownNameError, match="Did you mean 'min_agreement'"):
        task.with_options({"min_agrement": "75"})
    with pytest.raises(UsageError, match="Choose one of 50, 66, 75, 100"):
        task.with_options({"min_agreement": "80"})
    with pytest.raises(UsageError, match="no number"):
        task.with_options({"min_agreement": "most"})


def test_presets_have_the_sizes_of_the_paper():
    assert tasks.get("fpb").split_rule("paper").test == 0.25
    assert tasks.get("fpb").split_rule("paper").seed == 42
    with pytest.raises(UnknownNameError, match="Did you mean 'paper'"):
        tasks.get("fpb").split_rule("papre")
