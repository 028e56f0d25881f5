"""No row that one of several tasks is scored on is trained on by another that asks the same."""

from __future__ import annotations

import dataclasses

import pytest

from fin_qlora import tasks
from fin_qlora.data.joint import ask_alike, read_together
from fin_qlora.errors import EmptyDatasetError, MissingFileError

TFNS, FPB, NER = tasks.get("tfns"), tasks.get("fpb"), tasks.get("ner")
WAYS = ("fell", "rose", "held")


@pytest.fixture
def data_dir(write):
    """Two sentiment sets in folders of their own; the first asks a text the other is scored on."""

    def rows(name, *texts):
        lines = [f"{name} {way} {n},{label}" for n in range(6) for way, label in ANSWERS]
        return "text,label\n" + "\n".join([*lines, *texts]) + "\n"

    write("tfns/train.csv", rows("A", "Both   ASK this!,positive"))
    write("tfns/test.csv", rows("B"))
    write("fpb/train.csv", rows("C", "B rose 3,positive"))
    return write("fpb/test.csv", rows("D", "both ask this,positive"))


ANSWERS = tuple(zip(WAYS, ("negative", "positive", "neutral"), strict=True))


def test_training_rows_that_another_task_is_scored_on_are_left_out_and_counted(data_dir):
    (tfns, _), (fpb, fpb_test) = read_together([TFNS, FPB], data_dir=data_dir)
    assert len(tfns.rows) == len(fpb.rows) == 18
    assert tfns.dropped == {"also in evaluation of fpb": 1}
    assert fpb.dropped == {"also in evaluation of tfns": 1}
    assert len(fpb_test.rows) == 19
    assert not {row["text"] for row in tfns.rows} & {"Both   ASK this!"}
    # alone, each keeps it
    ((alone, _),) = read_together([TFNS], data_dir=data_dir)
    assert len(alone.rows) == 19


def test_another_question_about_the_same_text_stays(data_dir, write):
    risky = dataclasses.replace(
        TFNS,
        name="risky",
        labels=tuple(dataclasses.replace(one, name=f"{one.name}ly") for one in TFNS.labels),
    )
    lines = [f"B {way} {n},{label}ly" for n in range(6) for way, label in ANSWERS]
    write("risky/train.csv", "text,label\n" + "\n".join(lines) + "\n")
    write("risky/test.csv", "text,label\nz rose,positively\n")
    (risky_train, _), _ = read_together([risky, TFNS], data_dir=data_dir)
    assert len(risky_train.rows) == 18
    assert risky_train.dropped == {}


def test_a_set_that_would_be_empty_is_refused(write):
    write("tfns/train.csv", "text,label\nsame,positive\n")
    write("tfns/test.csv", "text,label\nother,positive\n")
    write("fpb/train.csv", "text,label\nthird,positive\n")
    folder = write("fpb/test.csv", "text,label\nsame,positive\n")
    with pytest.raises(EmptyDatasetError, match="'tfns' is also an evaluation row of task 'fpb'"):
        read_together([TFNS, FPB], data_dir=folder)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("tfns", "fpb", True),
        ("nwgi", "nwgi_three", True),
        ("fiqa_sa", "fiqa_sa_target", True),
        ("nwgi", "tfns", False),
        ("tfns", "headline", False),
        ("tfns", "ner", False),
        ("xbrl_tag", "xbrl_value", False),
    ],
)
def test_which_tasks_ask_the_same(one, other, alike):
    assert ask_alike(tasks.get(one), tasks.get(other)) is alike
    assert ask_alike(tasks.get(other), tasks.get(one)) is alike


def test_generated_tasks_need_no_folder_beside_others(data_dir):
    made = tasks.get("synthetic_ner")
    pairs = read_together([TFNS, made], data_dir=data_dir)
    assert len(pairs[1][0].rows) == 2400
    with pytest.raises(MissingFileError, match="synthetic_ner"):
        read_together([made], data_dir=data_dir)
