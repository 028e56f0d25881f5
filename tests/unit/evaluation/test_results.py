"""The folder of results: written whole, read with its rows, held to its schema and digests."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow
import pyarrow.parquet
import pytest

from fin_qlora.errors import CheckpointMismatchError, DataError, MissingFileError
from fin_qlora.evaluation import Evaluation, label_scores, read_results
from fin_qlora.evaluation.answers import ScoredAnswer, answer_scores
from fin_qlora.evaluation.clusters import accuracy_intervals, label_intervals
from fin_qlora.evaluation.results import check_out, forget, write_results
from fin_qlora.tasks import get

DIGEST = "ab" * 32
IDENTITY = {
    "model": DIGEST,
    "adapter": None,
    "tokenizer": DIGEST,
    "task": "tfns",
    "quantization": "none",
    "form": "plain",
    "shots": 0,
    "split": "test",
    "limit": None,
    "answers": "likelihood",
    "contract": DIGEST,
    "data": DIGEST,
}
ABOUT = {
    "model": "a/b",
    "base": {"id": "a/b", "revision": None, "digest": DIGEST},
    "quantization": "none",
    "split": "test",
    "limit": None,
    "data": {"file": "x.csv", "sha256": DIGEST, "rows": 2},
    "partial_file": False,
    "as_published": True,
}
COST = {
    "seconds": 1.0,
    "asking_seconds": 1.0,
    "rows_per_second": 2.0,
    "processes": 1,
    "gpus": 0,
    "gpu_hours": 0.0,
    "peak_memory_bytes": 7,
    "memory_kind": "resident set",
    "adapter_bytes": None,
}


def evaluation(task="tfns", **changes) -> Evaluation:
    labels = get("tfns").label_names
    gold, predicted = [labels[0], labels[1]], [labels[0], labels[2]]
    scores = dict.fromkeys(labels, 1 / 3)
    rows = [
        {
            "text": f"row {n}",
            "gold": right,
            "prompt_digest": DIGEST,
            "predicted": given,
            "output": None,
            "scores": scores if n else None,
            "log_likelihoods": scores if n else None,
            "outcome": "exact" if right == given else "wrong",
            "flags": [],
            "finished": None,
            "seconds": 0.5,
        }
        for n, (right, given) in enumerate(zip(gold, predicted, strict=True))
    ]
    found = Evaluation(
        task=task,
        answers="likelihood",
        labels=labels,
        grammar="label",
        scores=label_scores(gold, predicted, labels=labels),
        intervals=label_intervals(get("tfns"), rows, gold, predicted, labels=labels),
        seconds_per_example=0.5,
        contract_digest=DIGEST,
        data_digest=DIGEST,
        rows=rows,
        about=ABOUT,
        cost=COST,
        identity={**IDENTITY, "task": task},
    )
    return replace(found, **changes)


def free() -> Evaluation:
    task = get("finer")
    rows = [
        {
            "text": "row",
            "gold": "us-gaap:Cash",
            "prompt_digest": DIGEST,
            "parsed": None,
            "output": "who knows",
            "scores": None,
            "log_likelihoods": None,
            "outcome": "none",
            "flags": ["odd"],
            "finished": False,
            "seconds": 0.5,
        }
    ]
    answer = ScoredAnswer(
        gold="us-gaap:Cash",
        output="who knows",
        finished=False,
        score=task.score("who knows", {"label": "us-gaap:Cash"}),
    )
    return replace(
        evaluation("finer"),
        answers="generate",
        labels=(),
        grammar="tag",
        scores=answer_scores([answer], metrics=task.metrics),
        intervals=accuracy_intervals(task, rows, [False]),
        rows=rows,
    )


def test_what_is_written_is_read_again(tmp_path):
    write_results(tmp_path, [evaluation(), free()])
    labels, tags = read_results(tmp_path)
    assert (labels.task, labels.grammar, labels.answers) == ("tfns", "label", "likelihood")
    assert labels.labels == get("tfns").label_names
    assert labels.rows == evaluation().rows
    assert labels.figures["scores"]["accuracy"] == 0.5
    assert labels.figures["intervals"]["accuracy"]["wilson"]["low"] > 0
    assert labels.about["model"] == "a/b"
    assert (tags.labels, tags.grammar, tags.rows) == ((), "tag", free().rows)
    assert tags.figures["scores"]["outcomes"]["none"] == 1


def test_columns_have_their_types_even_where_all_is_missing(tmp_path):
    write_results(tmp_path, [evaluation(), free()])
    for name in ("tfns", "finer"):
        schema = pyarrow.parquet.read_schema(tmp_path / "rows" / f"{name}.parquet")
        assert schema.field("output").type == pyarrow.string()
        assert schema.field("finished").type == pyarrow.bool_()
        assert schema.field("flags").type == pyarrow.list_(pyarrow.string())
    assert schema.field("parsed").type == pyarrow.string()


def test_one_file_and_an_adapters_folder_are_read_as_well(tmp_path):
    write_results(tmp_path, [evaluation()])
    (alone,) = read_results(tmp_path / "rows" / "tfns.parquet")
    assert (alone.rows, alone.figures) == (evaluation().rows, {})
    for side in ("base", "adapter"):
        evaluation().write_rows(tmp_path / "adapter" / "eval" / f"tfns-{side}.parquet")
    sides = read_results(tmp_path / "adapter")
    assert [one.about["side"] for one in sides] == ["adapter", "base"]
    assert {one.task for one in sides} == {"tfns"}


def test_entries_of_other_tasks_stay_and_one_of_the_same_task_is_replaced(tmp_path):
    write_results(tmp_path, [evaluation(), free()])
    write_results(tmp_path, [evaluation(seconds_per_example=9.0)])
    assert [(one.task, one.figures["seconds_per_example"]) for one in read_results(tmp_path)] == [
        ("finer", 0.5),
        ("tfns", 9.0),
    ]
    forget(tmp_path, ["tfns"])
    assert [one.task for one in read_results(tmp_path)] == ["finer"]
    forget(tmp_path, ["finer"])
    with pytest.raises(MissingFileError, match="holds no results"):
        read_results(tmp_path)


def test_results_of_another_evaluation_are_not_replaced_unasked(tmp_path):
    write_results(tmp_path, [evaluation()])
    check_out(tmp_path, {"tfns": IDENTITY, "finer": {**IDENTITY, "shots": 3}})
    with pytest.raises(CheckpointMismatchError, match="shots was 0, and is 3 now"):
        check_out(tmp_path, {"tfns": {**IDENTITY, "shots": 3}})


def test_rows_that_were_changed_are_refused(tmp_path):
    write_results(tmp_path, [evaluation()])
    better = [{**row, "outcome": "exact"} for row in evaluation().rows]
    evaluation(rows=better).write_rows(tmp_path / "rows" / "tfns.parquet")
    with pytest.raises(DataError, match="its digest differs"):
        read_results(tmp_path)
    (tmp_path / "rows" / "tfns.parquet").unlink()
    with pytest.raises(MissingFileError, match=r"tfns\.parquet' is missing"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("rows", 0), ("answers", "guessed"), ("contract_digest", "short"), ("overlong", [0])],
)
def test_figures_that_do_not_follow_the_schema_are_refused(tmp_path, field, value):
    path = write_results(tmp_path, [evaluation()])
    content = json.loads(path.read_text("utf-8"))
    content["tasks"][0][field] = value
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(DataError, match=rf"results.schema.json at field 'tasks\[0\].{field}"):
        read_results(tmp_path)


def test_what_cannot_be_read_back_is_not_written(tmp_path):
    with pytest.raises(DataError, match=r"results\.schema\.json"):
        write_results(tmp_path, [evaluation(overlong=(0,))])
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize("content", [b"no parquet", b""])
def test_other_files_are_no_results(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(DataError, match="holds no per-row results"):
        read_results(tmp_path / "x.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="holds no per-row results"):
        read_results(tmp_path / "x.parquet")
    with pytest.raises(MissingFileError):
        read_results(tmp_path / "y.parquet")
