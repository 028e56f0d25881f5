"""`fin-qlora evaluate` prints scores, leaves them in a folder, and says what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fin_qlora.cli.evaluate_tables import shown, which_rows
from fin_qlora.evaluation import AnswerScores, Evaluation, read_results

MADE_UP = ("--task", "synthetic_sentiment")


def test_scores_in_every_format_and_in_a_folder(fin_qlora, small_base, tmp_path):
    out = tmp_path / "out"
    flags = (*MADE_UP, "--task", "synthetic_ner", "--limit", 8, "--answers", "both", "--out", out)
    said = fin_qlora("evaluate", small_base, *flags, "--abstain-below", "0.5")
    assert said.code == 0, said.err
    results = json.loads((out / "results.json").read_text("utf-8"))
    for entry in results["tasks"]:
        scores, interval = entry["scores"], entry["intervals"]["accuracy"]["cluster_bootstrap"]
        for line in (
            f"Task {entry['task']}",
            f"majority class  {scores['majority']:.4f}",
            f"random labels   {scores['random']:.4f}",
            f"accuracy when written  {entry['generated']['accuracy']:.4f}",
            f"both ways agree        {entry['agreement']['agreement']:.4f}",
            f"of the {entry['abstention']['coverage']:.4f} that are answered",
            f"{interval['low']:.4f} to {interval['high']:.4f}",
        ):
            assert " ".join(line.split()) in " ".join(said.out.split())
    assert "test rows (the first 8 only)" in said.out
    assert "WROTE" in said.err.upper()
    assert "rows/s" not in said.err  # no bar in a log

    # what is there already is not asked again, and is the same
    again = fin_qlora("evaluate", small_base, *flags, "--format", "json")
    told = json.loads(again.out)["tasks"]
    assert [one["scores"] for one in told] == [one["scores"] for one in results["tasks"]]
    quiet = fin_qlora("evaluate", small_base, *flags, "--format", "quiet")
    assert quiet.out == "".join(f"{one['scores']['accuracy']:.4f}\n" for one in told)

    # another evaluation does not take its place unasked
    other = fin_qlora("evaluate", small_base, *MADE_UP, "--limit", 7, "--out", out)
    assert (other.code, other.out) == (3, "")
    assert "limit was 8, and is 7 now" in other.err
    assert (
        fin_qlora("evaluate", small_base, *MADE_UP, "--limit", 7, "--out", out, "--restart").code
        == 0
    )
    assert {one.task: len(one.rows) for one in read_results(out)} == {
        "synthetic_ner": 8,
        "synthetic_sentiment": 7,
    }


def test_a_base_may_be_shown_worked_examples(fin_qlora, small_base):
    said = fin_qlora(
        "evaluate", small_base, *MADE_UP, "--limit", 2, "--shots", 1, "--shots-seed", 7
    )
    assert said.code == 0, said.err
    assert "worked examples   1" in said.out
    assert fin_qlora("evaluate", small_base, "--shots", -1).code == 2


def write(folder, *lines, name="tfns/sent_valid.csv"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return folder


def test_rows_that_are_too_long_are_named_and_may_be_counted_as_wrong(
    fin_qlora, small_base, tmp_path
):
    data = write(tmp_path, "text,label", "it went up,1", "long " * 600 + ",0", "it fell,0")
    flags = ("evaluate", small_base, "--task", "tfns", "--data-dir", data)
    said = fin_qlora(*flags)
    assert said.code == 3
    assert "longer are row 2 (" in said.err
    said = fin_qlora(*flags, "--on-overlong", "wrong", "--out", tmp_path / "out")
    assert said.code == 0, said.err
    assert "TOO LONG, counted wrong  1" in said.out
    (found,) = read_results(tmp_path / "out")
    assert found.figures["overlong"] == [2]
    assert [row["flags"] for row in found.rows] == [[], ["too long"], []]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("text,label",), "sent_valid.csv"),
        (("text,label", "it went up,1", "it fell,sideways"), "sent_valid.csv"),
        (("text,label", "it went up"), "sent_valid.csv"),
        (("something,else", "it went up,1"), "sent_valid.csv"),
    ],
    ids=["empty", "unknown label", "half a row", "other columns"],
)
def test_data_that_cannot_be_scored_is_named(fin_qlora, small_base, tmp_path, lines, said):
    data = write(tmp_path, *lines)
    found = fin_qlora("evaluate", small_base, "--task", "tfns", "--data-dir", data)
    assert (found.code, found.out) == (3, "")
    assert said in found.err


def test_a_row_that_is_no_json_is_named_by_its_number(fin_qlora, small_base, tmp_path):
    lines = ('{"text": "it rose", "label": "bullish"}', '{"text": "it fell", "lab')
    data = write(tmp_path, *lines, name="test.jsonl")
    said = fin_qlora("evaluate", small_base, "--task", "tfns", "--data-dir", data)
    assert (said.code, said.out) == (3, "")
    assert "test.jsonl, row 2 is not JSON" in said.err


def test_what_is_asked_wrongly_is_said(fin_qlora, small_base, tmp_path):
    for code, sentence, flags in (
        (2, "the task must be named", ()),
        (2, "Did you mean 'tfns'", ("--task", "tfms")),
        (2, "name one twice", (*MADE_UP, *MADE_UP)),
        (2, "is no folder", (*MADE_UP, "--out", tmp_path / "a.json")),
        (2, "restart is set without out", (*MADE_UP, "--restart")),
        (2, "limit", (*MADE_UP, "--limit", 0)),
        (
            2,
            "no probability to abstain by",
            (*MADE_UP, "--answers", "generate", "--abstain-below", 0.5),
        ),
        (3, "needs data files", ("--task", "tfns")),
        (3, "does not exist", ("--task", "tfns", "--data-dir", tmp_path / "nowhere")),
        (3, "makes no validation rows", (*MADE_UP, "--split", "validation")),
    ):
        said = fin_qlora("evaluate", small_base, *flags)
        assert (said.code, said.out) == (code, ""), said
        assert sentence in said.err, flags
    # what can be said without the model is said before it is looked for
    said = fin_qlora("evaluate", tmp_path / "nothing", "--task", "tfns")
    assert (said.code, "needs data files" in said.err) == (3, True)
    said = fin_qlora("evaluate", tmp_path / "nothing", *MADE_UP)
    assert said.code == 3
    assert "is neither a folder nor a hub id" in said.err


ABOUT = {
    "model": "a/b",
    "quantization": "4bit",
    "split": "train",
    "limit": 5,
    "shots": 0,
    "partial_file": True,
    "data": {"file": "tfns/sent_train.csv"},
}


def test_free_answers_are_told_by_what_became_of_them():
    outcomes = {"exact": 5, "rounded": 1, "scale": 2, "sign": 0, "wrong": 0, "none": 2}
    scores = AnswerScores(
        n=10,
        accuracy=0.5,
        majority=0.1,
        outcomes=outcomes,
        unfinished=1,
        metrics={"exact_match": 0.4, "micro_f1": 0.45},
        by_seen={"seen": {"n": 4, "accuracy": 0.75}, "unseen": {"n": 0, "accuracy": None}},
    )
    found = Evaluation(
        task="xbrl_value",
        answers="generate",
        labels=(),
        grammar="number",
        scores=scores,
        intervals={
            "accuracy": {"cluster_bootstrap": {"low": 0.21, "high": 0.81}},
            "cluster": "company or filing",
            "n_effective": 3,
            "few_clusters": True,
        },
        seconds_per_example=0.01,
        contract_digest="",
        data_digest="",
        rows=[],
        about=ABOUT,
        cost={"gpus": 1, "gpu_hours": 0.5, "peak_memory_bytes": 2**31, "memory_kind": "GPU"},
    )
    told = shown(found)
    for line in (
        "accuracy 0.5000 0.2100 to 0.8100",
        "or rounded 0.6000",
        "exact match 0.4000",
        "micro F1 0.4500",
        "commonest answer 0.1000",
        "outcomes exact 5, rounded 1, scale 2, none 2",
        "unfinished 1",
        "answers seen in training 0.7500 of 4",
        "answers unseen in training none",
        "independent rows 3 by company or filing: TOO FEW for a sound interval",
        "peak memory 2.00 GiB (GPU)",
        "GPU hours 0.5000",
        "TRAINING ROWS (the first 5 only) of a part of the published file",
        "a/b, base in 4bit",
    ):
        assert line in " ".join(told.split()), line
    assert "TOO LONG" not in told
    told = " ".join(shown(replace(found, overlong=(3, 4))).split())
    assert "TOO LONG, counted wrong 2" in told


def test_which_rows_were_scored_is_said():
    whole = ABOUT | {"split": "test", "limit": None, "partial_file": False}
    assert which_rows(whole) == "test rows"
    assert which_rows(whole | {"split": "validation"}) == "validation rows"


def test_an_interruption_says_that_the_rows_are_kept(fin_qlora, small_base, tmp_path, monkeypatch):
    from fin_qlora.evaluation.journal import Journal

    add = Journal.add

    def then_stopped(self, *arguments, **options):
        add(self, *arguments, **options)
        raise KeyboardInterrupt

    flags = ("evaluate", small_base, *MADE_UP, "--limit", 6, "--batch-size", 2, "--out", tmp_path)
    with monkeypatch.context() as changed:
        changed.setattr(Journal, "add", then_stopped)
        said = fin_qlora(*flags)
    assert (said.code, said.out) == (130, "")
    assert "finished rows are kept, and the same command goes on" in said.err
    (path,) = (tmp_path / "journal").iterdir()
    assert len(path.read_bytes().splitlines()) == 2
    assert fin_qlora(*flags).code == 0
    assert len(path.read_bytes().splitlines()) == 4
