"""PhraseBank, FiQA, TFNS and NWGI as they come, with what published readers got wrong."""

from __future__ import annotations

from collections import Counter

import pytest

from fin_qlora import tasks
from fin_qlora.data.forms import find_form, read_form
from fin_qlora.data.sources.scores import class_of
from fin_qlora.data.table import read_split, read_splits
from fin_qlora.errors import DataError, UnknownLabelError


def prompt(text: str, target: str, *, asked: str = "What is the sentiment of this tweet?"):
    return {"context": f"Instruction: {asked}\nInput: {text}\nAnswer: ", "target": target}


def read(name, part, data, **options):
    task = tasks.get(name).with_options(options)
    form = find_form(task, part, data)
    assert form is not None
    return read_form(form, task, data)


# ------------------------------------------------------------------------------- PhraseBank


@pytest.fixture
def phrasebank(write):
    lines = [f"Sentence {i} a@b .@{('neutral', 'positive', 'negative')[i % 3]}" for i in range(30)]
    lines[0] = "M\xfcller grew 5 % .@positive"
    lines += ["torn sentence@neutral", "torn sentence@positive", lines[1]]
    for name, some in (("50", lines), ("66", lines[:20]), ("75", lines[:10]), ("All", lines[:5])):
        data = write(f"fpb/Sentences_{name}Agree.txt", "\r\n".join(some).encode("latin-1"))
    return data


def test_phrasebank_is_latin_1_and_cut_at_the_last_at(phrasebank):
    rows = read("fpb", "pool", phrasebank).rows
    assert rows[0] == {"text": "Müller grew 5 % .", "label": "positive", "agreement": "100"}
    assert rows[1]["text"] == "Sentence 1 a@b ."
    assert Counter(row["agreement"] for row in rows) == {"100": 5, "75": 5, "66": 10, "50": 13}


def test_phrasebank_can_be_kept_to_a_level(phrasebank):
    reading = read("fpb", "pool", phrasebank, min_agreement=75)
    assert len(reading.rows) == 10
    assert reading.dropped == {"agreement below 75 %": 23}


def test_one_split_holds_for_all_levels(phrasebank):
    task = tasks.get("fpb")
    everything = read_splits(task, data_dir=phrasebank)
    assert everything["train"].dropped == {
        "the same question again": 1,
        "the same question with different answers": 2,
    }
    train, test = ({row["text"] for row in everything[s].rows} for s in ("train", "test"))
    assert not train & test
    assert len(train | test) == 30


def test_a_stricter_file_of_another_release_is_refused(phrasebank, write):
    write("fpb/Sentences_AllAgree.txt", b"Never seen before .@neutral\r\n")
    with pytest.raises(DataError, match=r"1 lines of Sentences_AllAgree\.txt are not in"):
        read("fpb", "pool", phrasebank)


def test_a_line_without_a_label_is_named(write):
    data = write("fpb/Sentences_50Agree.txt", b"fine@neutral\r\nno label here\r\n")
    with pytest.raises(DataError, match="row 2 has no '@'"):
        read("fpb", "pool", data)


# ------------------------------------------------------------------------------------- FiQA


@pytest.fixture
def fiqa(write):
    def entry(target, score):
        return {"target": target, "sentiment_score": score, "snippets": "['a', 'b']"}

    write(
        "fiqa/task1_headline_ABSA_train.json",
        {
            "1": {"sentence": "Up Xmas â€“ sales", "info": [entry("A", "0.5")]},
            "2": {"sentence": "A wins, B loses", "info": [entry("A", "0.4"), entry("B", "-0.6")]},
            "3": {"sentence": "Both rise", "info": [entry("A", "0.3"), entry("B", "0.1")]},
            "4": {"sentence": "Flat", "info": [entry("A", "0")]},
        },
    )
    return write(
        "fiqa/task1_post_ABSA_train.json",
        {"9": {"sentence": "$X down", "info": [entry("X", "-0.1")]}},
    )


def test_fiqa_by_sentence_leaves_out_opposite_scores(fiqa):
    reading = read("fiqa_sa", "pool", fiqa)
    assert [(r["text"], r["kind"], r["score"], r["label"]) for r in reading.rows] == [
        ("Up Xmas – sales", "news", "0.5", "positive"),
        ("Both rise", "news", "0.2", "positive"),
        ("Flat", "news", "0", "neutral"),
        ("$X down", "tweet", "-0.1", "neutral"),
    ]
    assert [file.rows for file in reading.files] == [6, 1]  # entries, as the publisher counts
    assert reading.dropped == {
        "entry of a sentence with opposite scores": 2,
        "another entry of the same sentence, made one": 1,
    }


def test_fiqa_by_target_keeps_every_entry(fiqa):
    reading = read("fiqa_sa_target", "pool", fiqa)
    torn = [(r["target"], r["label"]) for r in reading.rows if r["text"] == "A wins, B loses"]
    assert torn == [("A", "positive"), ("B", "negative")]
    assert len(reading.rows) == 7
    assert not reading.dropped


def test_the_threshold_is_a_parameter(fiqa):
    reading = read("fiqa_sa", "pool", fiqa, threshold=0.05)
    assert reading.rows[-1]["label"] == "negative"


@pytest.mark.parametrize(
    ("score", "threshold", "label"),
    [
        (-0.11, 0.1, "negative"),
        (-0.1, 0.1, "neutral"),
        (0.0999, 0.1, "neutral"),
        (0.1, 0.1, "positive"),
        (0.0, 0.0, "neutral"),
        (0.001, 0.0, "positive"),
        (-0.001, 0.0, "negative"),
    ],
)
def test_classes_of_scores(score, threshold, label):
    assert class_of(score, threshold) == label


@pytest.mark.parametrize("score", ["high", "1.5"])
def test_a_score_that_is_none_is_named(write, score):
    info = [{"target": "A", "sentiment_score": score}]
    data = write("fiqa/task1_headline_ABSA_train.json", {"1": {"sentence": "x", "info": info}})
    with pytest.raises(DataError, match=r"row 1 has the score"):
        read("fiqa_sa", "pool", data)


# ------------------------------------------------------------------------------------- TFNS


def swapped(n: int):
    """FinLoRA's form of n neutral, n / 4 positive and n / 5 negative tweets, named as it does."""
    return [
        *(prompt(f"says {i}\nmore", "positive") for i in range(n)),  # neutral
        *(prompt(f"upgraded {i}", "neutral") for i in range(n // 4)),  # positive
        *(prompt(f"downgraded {i}", "negative") for i in range(n // 5)),
    ]


@pytest.mark.parametrize(
    ("n", "why"), [(100, "shares of its classes"), (5, "every copy of this form")]
)
def test_finlora_s_swapped_classes_are_put_right_and_told(write, n, why):
    data = write("tfns/finlora/tfns_test.jsonl", swapped(n))
    table = read_split(tasks.get("tfns"), "test", data_dir=data)
    right = {"says": "neutral", "upgraded": "positive", "downgraded": "negative"}
    assert all(right[row["text"].split()[0]] == row["label"] for row in table.rows)
    assert table.changed["'neutral' and 'positive' put right"] == n + n // 4
    assert why in table.notes[0]


def test_a_copy_with_the_right_classes_is_left_alone(write):
    other = {"positive": "neutral", "neutral": "positive", "negative": "negative"}
    right = [{**each, "target": other[each["target"]]} for each in swapped(100)]
    data = write("tfns/finlora/tfns_test.jsonl", right)
    table = read_split(tasks.get("tfns"), "test", data_dir=data)
    assert Counter(row["label"] for row in table.rows)["neutral"] == 100
    assert table.notes == ("'neutral' and 'positive' are not swapped in this copy.",)
    assert not table.changed


def test_the_raw_file_is_preferred(write):
    write("tfns/finlora/tfns_test.jsonl", swapped(5))
    data = write("tfns/sent_valid.csv", "text,label\r\nraw,1\r\n")
    assert [row["text"] for row in read_split(tasks.get("tfns"), "test", data_dir=data).rows] == [
        "raw"
    ]


def test_a_prompt_of_another_set_is_refused(write):
    data = write("tfns/finlora/tfns_test.jsonl", [{"context": "Explain X", "target": "y"}])
    with pytest.raises(DataError, match="row 1 is not a prompt of the form"):
        read_split(tasks.get("tfns"), "test", data_dir=data)


# ------------------------------------------------------------------------------------- NWGI


def test_nwgi_in_seven_and_in_three(write):
    labels = ["strong positive", "mildly positive", "neutral", "mildly negative"]
    data = write(
        "nwgi/finlora/nwgi_test.jsonl", [prompt(f"news {i}", x) for i, x in enumerate(labels)]
    )
    seven, three = (
        [row["label"] for row in read_split(tasks.get(name), "test", data_dir=data).rows]
        for name in ("nwgi", "nwgi_three")
    )
    assert seven == labels
    assert three == ["positive", "positive", "neutral", "negative"]


def test_a_label_that_nobody_knows_is_named(write):
    data = write("nwgi/finlora/nwgi_test.jsonl", [prompt("x", "very positive")])
    with pytest.raises(UnknownLabelError, match=r"nwgi_test.jsonl, row 1 has the label"):
        read_split(tasks.get("nwgi"), "test", data_dir=data)
