"""The published sets as they are here: every count is one that was taken by hand before."""

from __future__ import annotations

from collections import Counter

import pytest

from fin_qlora import tasks
from fin_qlora.data.audit import audit_task
from fin_qlora.data.forms import forms_present, read_form
from fin_qlora.data.prepare import prepare
from fin_qlora.data.verify import verify_form

THREE = ("negative", "neutral", "positive")


def read(published, name, path, **options):
    task = tasks.get(name).with_options(options)
    for form in forms_present(task, published):
        if form.files[0].path == path:
            return read_form(form, task, published)
    raise AssertionError(f"{name} has no form {path}")


def labels(reading):
    return Counter(row["label"] for row in reading.rows)


@pytest.mark.parametrize(
    ("name", "path", "records"),
    [
        ("fpb", "fpb/Sentences_50Agree.txt", [4246, 3710, 3039, 1998]),
        ("fpb", "fpb/finlora/fpb_test.jsonl", [612]),
        ("fiqa_sa", "fiqa/task1_headline_ABSA_train.json", [464, 609]),
        ("fiqa_sa", "fiqa/task1_headline_ABSA_test.json", [93, 99]),
        ("fiqa_sa", "fiqa/finlora/fiqa_test.jsonl", [130]),
        ("tfns", "tfns/sent_train.csv", [9543]),
        ("tfns", "tfns/sent_valid.csv", [1227]),
        ("tfns", "tfns/finlora/tfns_test.jsonl", [1227]),
        ("nwgi", "nwgi/finlora/nwgi_test.jsonl", [2002]),
        ("headline", "headline/gold-dataset-sinha-khandait.csv", [9550]),
        ("ner", "ner/FIN5.txt", [1164]),
        ("ner", "ner/FIN3.txt", [160]),
        ("ner", "ner/finlora/ner_test.jsonl", [1598]),
        ("xbrl_tag", "xbrl_tags/xbrl_tags_test.csv", [1495]),
        ("xbrl_tag", "xbrl_tags/finlora/xbrl_xbrl_tags_test.jsonl", [68]),
        ("xbrl_tag", "xbrl_tags/finlora/xbrl_xbrl_tags_test.2025-03-13.jsonl", [77]),
        ("xbrl_value", "xbrl_value/value_test.csv", [1275]),
        ("xbrl_value", "xbrl_value/finlora/xbrl_value_test.jsonl", [61]),
        ("xbrl_value", "xbrl_value/finlora/xbrl_value_test.2025-03-13.jsonl", [104]),
        ("xbrl_formula_calculation", "xbrl_formula/formula_calculation_train.csv", [3360]),
        ("xbrl_formula_calculation", "xbrl_formula/formula_calculation_test.csv", [430]),
        ("xbrl_formula_calculation", "xbrl_formula/finlora/xbrl_formula_test.jsonl", [104]),
        (
            "xbrl_formula_construction",
            "xbrl_formula/formula_formatted_with_tags_train.csv",
            [3360],
        ),
        ("xbrl_formula_construction", "xbrl_formula/formula_formatted_with_tags_test.csv", [430]),
        ("xbrl_tag", "xbrl_bench_sample/qa_data.json", [139]),
        ("finer", "finer/finlora/finer_test_batched.jsonl", [247]),
        ("fnxl", "fnxl/train_sample.csv", [1000, 2799]),
        ("fnxl", "fnxl/test_sample.csv", [431, 2799]),
        ("fnxl", "fnxl/finlora/fnxl_test_batched.jsonl", [14]),
        ("xbrl_term", "xbrl_term/finlora/xbrl_term_train.jsonl", [5856]),
        ("xbrl_term", "xbrl_term/finlora/xbrl_term_test.jsonl", [316]),
        ("financial_math", "financial_math/finlora/formula_train.jsonl", [800]),
        ("financial_math", "financial_math/finlora/formula_test.jsonl", [109]),
        ("financebench", "financebench/finlora/financebench_train.jsonl", [86]),
        ("financebench", "financebench/finlora/financebench_test.jsonl", [22]),
    ],
)
def test_records(published, name, path, records):
    assert [file.rows for file in read(published, name, path).files] == records


def test_nothing_is_other_than_it_was_published(published):
    checks = [
        verify_form(form, task, published)
        for task in tasks.shipped()
        for form in forms_present(task, published)
    ]
    assert [finding for check in checks for finding in check.findings] == []
    digests = {file.path: file.digest for check in checks for file in check.files}
    assert digests["tfns/sent_train.csv"] == "as expected"
    assert digests["tfns/sent_valid.csv"] == "open"


def test_phrasebank(published):
    levels = {50: (539, 2519, 1188), 66: (459, 2223, 1028), 75: (375, 1878, 786)}
    levels[100] = (271, 1215, 512)
    for level, expected in levels.items():
        reading = read(published, "fpb", "fpb/Sentences_50Agree.txt", min_agreement=level)
        found = labels(reading)
        assert tuple(found[name] for name in THREE) == expected
    assert read(published, "fpb", "fpb/Sentences_50Agree.txt").seen["not only ASCII"] == 98


def test_fiqa(published):
    path = "fiqa/task1_headline_ABSA_train.json"
    signs = labels(read(published, "fiqa_sa_target", path, threshold=0))
    # README: headlines 153/13/298 and posts 209/1/399
    assert tuple(signs[name] for name in THREE) == (153 + 209, 13 + 1, 298 + 399)
    reading = read(published, "fiqa_sa", path)
    # 12 headlines by hand; 2 of them pair a score of exactly 0 with a signed one
    assert reading.seen["sentence with opposite scores"] == 10
    assert len(reading.rows) == 399 + 609 - 10


def test_tfns_and_its_swapped_copy(published):
    train = read(published, "tfns", "tfns/sent_train.csv")
    assert tuple(labels(train)[name] for name in THREE) == (1442, 6178, 1923)
    assert train.seen["line break inside the text"] == 184
    assert train.seen["replacement character U+FFFD"] == 5
    assert train.changed["blanks at the ends cut"] == 22
    raw = read(published, "tfns", "tfns/sent_valid.csv")
    copy = read(published, "tfns", "tfns/finlora/tfns_test.jsonl")
    assert tuple(labels(raw)[name] for name in THREE) == (193, 798, 236)
    assert {r["text"]: r["label"] for r in copy.rows} == {r["text"]: r["label"] for r in raw.rows}
    assert copy.changed["'neutral' and 'positive' put right"] == 798 + 236
    assert "swapped" in copy.notes[0]


def test_nwgi(published):
    reading = read(published, "nwgi", "nwgi/finlora/nwgi_test.jsonl")
    assert labels(reading) == {
        "moderately positive": 745,
        "moderately negative": 370,
        "mildly positive": 320,
        "mildly negative": 258,
        "neutral": 250,
        "strong negative": 33,
        "strong positive": 26,
    }
    assert reading.seen["no-break space U+00A0"] == 114


def test_headline(published):
    reading = read(published, "headline", "headline/gold-dataset-sinha-khandait.csv")
    flags = {
        "Price Direction Up": 3988,
        "Price Direction Constant": 394,
        "Price Direction Down": 3563,
        "Asset Comparision": 1816,
        "Past Information": 9264,
        "Future Information": 287,
    }
    assert {name: reading.seen[f"{name} = 1"] for name in flags} == flags
    assert reading.seen["more than one price direction"] == 148
    assert reading.seen["sentiment that does not follow from the directions"] == 0
    assert reading.seen["replacement character U+FFFD"] == 5
    assert reading.changed["blanks at the ends cut"] == 27
    assert labels(reading)["Yes"] == sum(flags.values())


def test_entities(published):
    train = read(published, "ner", "ner/FIN5.txt")
    runs = {kind: train.seen[f"mention {kind}"] for kind in ("PER", "ORG", "LOC", "MISC")}
    assert runs == {"PER": 747, "ORG": 243, "LOC": 171, "MISC": 7}
    test = read(published, "ner", "ner/FIN3.txt")
    runs = {kind: test.seen[f"mention {kind}"] for kind in ("PER", "ORG", "LOC", "MISC")}
    assert runs == {"PER": 107, "ORG": 29, "LOC": 15, "MISC": 2}
    copy = read(published, "ner", "ner/finlora/ner_test.jsonl")
    mine = {(row["text"], row["entity"].casefold()): row["label"] for row in test.rows}
    theirs = {(row["text"], row["entity"].casefold()): row["label"] for row in copy.rows}
    known = {key: label for key, label in theirs.items() if key in mine}
    assert known
    assert {key: mine[key] for key in known} == known


def test_filing_questions(published):
    tags = read(published, "xbrl_tag", "xbrl_tags/xbrl_tags_test.csv")
    assert tags.dropped == {"the answer is no tag": 110}
    assert tags.seen["tag outside us-gaap"] == 10
    assert len({row["label"] for row in tags.rows if row["label"].startswith("us-gaap:")}) == 40
    values = read(published, "xbrl_value", "xbrl_value/value_test.csv")
    assert len({row["fact"] for row in values.rows}) == 255
    assert sum(row["label"].startswith("-") for row in values.rows) == 160


def test_terms_without_an_explanation(published):
    reading = read(published, "xbrl_term", "xbrl_term/finlora/xbrl_term_train.jsonl")
    assert reading.dropped == {"answer is missing": 6}
    assert len(reading.rows) == 5856 - 6


def test_leaks_that_were_published(published):
    leaks = {
        task.name: found
        for task in tasks.shipped()
        if not task.view_of and (found := audit_task(task, published)) and found.leaks
    }
    assert set(leaks) == {
        "tfns",
        "xbrl_formula_construction",
        "xbrl_formula_calculation",
        "fnxl",
        "xbrl_term",
        "financebench",
    }
    assert {
        shared.held_out: shared.groups["filing"]
        for shared in leaks["xbrl_formula_calculation"].overlaps
    }["test"] == 67  # of 104


@pytest.mark.parametrize(
    "name",
    [task.name for task in tasks.shipped() if not task.name.startswith(("xbrl_c", "synthetic"))],
)
def test_what_is_prepared_leaks_nothing(published, tmp_path, name):
    task = tasks.get(name)
    if not any(not form.reference for form in forms_present(task, published)):
        pytest.skip("only question files without facts are here")
    found = prepare(task, data_dir=published, out=tmp_path / "out")
    audited = audit_task(task, found.folder)
    assert audited is not None
    assert not audited.leaks
    for part in audited.parts:
        if part.part == "train":
            assert part.contradictory == 0
            assert part.normalised_repeats == 0
