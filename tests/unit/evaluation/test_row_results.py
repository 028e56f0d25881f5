"""How answers become rows and scores: counted by hand, with a model that answers as it is told."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from fin_qlora.errors import (
    EmptyDatasetError,
    TruncatedAnswerError,
    UnknownLabelError,
    UsageError,
)
from fin_qlora.evaluation import asking, evaluate_rows
from fin_qlora.evaluation import rows as module
from fin_qlora.inference import Generated
from fin_qlora.tasks import get

MODEL = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=512))
LABELS = get("tfns").label_names
SURE, UNSURE = (0.9, 0.06, 0.04), (0.5, 0.3, 0.2)


def answering(monkeypatch, *, likely=(), written=()):
    """Let the likelihoods be these shares for each row, and the written answers these texts."""

    def asked(results):
        def ask(model, tokenizer, contract, inputs, *, batch_size, progress=None, keep, mine):
            found = [results[int(row["text"].split()[-1])] for row in inputs]
            keep(list(range(len(inputs))), found)
            return found

        return ask

    logs = [dict(zip(LABELS, map(math.log, shares), strict=True)) for shares in likely]
    texts = [Generated(text=text, finished=True) for text in written]
    for name, results in (("LIKELIHOOD", logs), ("GENERATE", texts)):
        question = getattr(asking, name)
        changed = asking.Question(
            name=question.name,
            ask=asked(results),
            stored=question.stored,
            restored=question.restored,
        )
        monkeypatch.setattr(module, name, changed)


def made(*labels):
    return [{"text": f"row {n}", "label": label} for n, label in enumerate(labels)]


def run(tokenizer, rows, task="tfns", **options):
    chosen = get(task)
    return evaluate_rows(MODEL, tokenizer, chosen.contract(), rows, task=chosen, **options)


def test_the_likeliest_label_is_predicted_with_its_probability(tokenizer, monkeypatch):
    answering(monkeypatch, likely=[SURE, UNSURE])
    found = run(tokenizer, made(LABELS[0], LABELS[1]))
    assert [row["predicted"] for row in found.rows] == [LABELS[0], LABELS[0]]
    assert [row["outcome"] for row in found.rows] == ["exact", "wrong"]
    assert found.rows[0]["scores"] == pytest.approx(dict(zip(LABELS, SURE, strict=True)))
    assert found.rows[0]["log_likelihoods"][LABELS[0]] == math.log(0.9)
    assert (found.rows[0]["output"], found.rows[0]["finished"]) == (None, None)
    assert found.scores.accuracy == 0.5
    assert found.answers == "likelihood"
    low, high = (found.intervals["accuracy"]["wilson"][end] for end in ("low", "high"))
    assert low < 0.5 < high


def test_a_written_label_must_be_one_to_the_letter(tokenizer, monkeypatch):
    answering(monkeypatch, written=[LABELS[0], f"{LABELS[1]}, I think", LABELS[2].upper()])
    found = run(tokenizer, made(*LABELS), answers="generate")
    assert [row["predicted"] for row in found.rows] == [LABELS[0], "invalid", "invalid"]
    assert [row["outcome"] for row in found.rows] == ["exact", "none", "none"]
    assert found.rows[1]["output"] == f"{LABELS[1]}, I think"
    assert found.rows[1]["scores"] is None
    assert found.scores.invalid == 2
    assert found.scores.accuracy == pytest.approx(1 / 3)


def test_both_ways_are_compared(tokenizer, monkeypatch):
    answering(
        monkeypatch,
        likely=[SURE, SURE, UNSURE],
        written=[LABELS[0], LABELS[1], "no idea"],
    )
    found = run(tokenizer, made(LABELS[0], LABELS[1], LABELS[0]), answers="both")
    assert [row["predicted"] for row in found.rows] == [LABELS[0]] * 3
    assert [row["generated"] for row in found.rows] == [LABELS[0], LABELS[1], "invalid"]
    assert found.agreement.differ == (2, 3)
    assert found.agreement.share == pytest.approx(1 / 3)
    assert (found.agreement.only_likelihood, found.agreement.only_generated) == (1, 1)
    assert (found.scores.accuracy, found.generated.accuracy) == pytest.approx((2 / 3, 2 / 3))
    assert found.generated.invalid == 1


def test_abstaining_gives_coverage_and_the_accuracy_of_the_rest(tokenizer, monkeypatch):
    answering(monkeypatch, likely=[SURE, SURE, UNSURE, UNSURE])
    rows = made(LABELS[0], LABELS[1], LABELS[1], LABELS[1])
    found = run(tokenizer, rows, abstain_below=0.8).abstention
    assert (found.coverage, found.accuracy) == (0.5, 0.5)
    none = run(tokenizer, rows, abstain_below=0.95).abstention
    assert (none.coverage, none.accuracy) == (0.0, None)
    assert none.to_dict()["interval"] is None
    with pytest.raises(UsageError, match="no probability to abstain by"):
        run(tokenizer, rows, answers="generate", abstain_below=0.8)
    with pytest.raises(UsageError, match="abstain_below is 2"):
        run(tokenizer, rows, abstain_below=2)


def test_rows_that_are_too_long_are_named_or_counted_as_wrong(tokenizer, monkeypatch):
    answering(monkeypatch, likely=[SURE] * 3)
    rows = made(*[LABELS[0]] * 3)
    rows[1]["text"] = f"{'long ' * 600}1"
    with pytest.raises(TruncatedAnswerError, match=r"longer are row 2 \(\d+ tokens\)\.") as caught:
        run(tokenizer, rows)
    assert "--on-overlong wrong" in str(caught.value)
    found = run(tokenizer, rows, on_overlong="wrong", abstain_below=0.5)
    assert found.overlong == (2,)
    assert found.scores.accuracy == pytest.approx(2 / 3)
    assert found.scores.invalid == 1
    assert found.scores.certainty is None
    assert found.rows[1]["predicted"] == "invalid"
    assert found.rows[1]["flags"] == ["too long"]
    assert found.rows[1]["seconds"] == 0
    assert found.abstention.coverage == pytest.approx(2 / 3)


def test_free_answers_that_are_too_long_are_wrong_as_well(tokenizer, monkeypatch):
    answering(monkeypatch, written=["us-gaap:Cash", "us-gaap:Cash"])
    rows = [{"text": f"row {n}", "entity": "7", "label": "us-gaap:Cash"} for n in range(2)]
    rows[0]["text"] = f"{'long ' * 600}0"
    found = run(tokenizer, rows, task="finer", on_overlong="wrong", seen={"us-gaap:Debt"})
    assert [row["outcome"] for row in found.rows] == ["none", "exact"]
    assert found.scores.accuracy == 0.5
    assert found.scores.by_seen["unseen"] == {"n": 2, "accuracy": 0.5}
    assert (found.answers, found.labels, found.grammar) == ("generate", (), "tag")


def test_a_right_answer_that_is_no_label_is_refused_before_the_model_is_asked(tokenizer):
    with pytest.raises(UnknownLabelError, match="'sideways' is none of the labels"):
        run(tokenizer, made(LABELS[0], "sideways"))


def test_no_row_is_an_error(tokenizer):
    with pytest.raises(EmptyDatasetError):
        run(tokenizer, [])
