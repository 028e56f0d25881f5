"""One adapter of a task with labels and one with free answers: asked, replayed, and shown whole."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
from safetensors.torch import load_file, save_file

from fin_qlora import load_adapter, tasks
from fin_qlora.errors import AdapterMismatchError, TruncatedAnswerError, UsageError
from fin_qlora.evaluation import AnswerScores, LabelScores, evaluate
from fin_qlora.evidence import read_manifest, read_record, verify_files, write_manifest
from fin_qlora.inference.adapters.canaries import replay_canaries
from fin_qlora.models.lora import WEIGHTS
from fin_qlora.publishing import card
from fin_qlora.training.result.adapter_folder import FinishedRun

TAGS = {"cash": "us-gaap:Cash", "debt": "us-gaap:DebtCurrent"}
MOODS = ("up", "1"), ("down", "0"), ("flat", "2")


def write_rows(folder: Path) -> None:
    """Write rows of both tasks; the right answer hangs on one word."""
    for name, start in (("train", 0), ("test", 100)):
        place = folder / "finer"
        place.mkdir(exist_ok=True)
        lines = [
            {"text": f"{word} was {start + n} then", "entity": str(start + n), "label": tag}
            for n in range(12)
            for word, tag in TAGS.items()
        ]
        (place / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines), "utf-8")
    for name, start in (("sent_train", 0), ("sent_valid", 100)):
        place = folder / "tfns"
        place.mkdir(exist_ok=True)
        lines = [f"it went {word} {start + n},{raw}" for n in range(8) for word, raw in MOODS]
        (place / f"{name}.csv").write_text("\n".join(["text,label", *lines]) + "\n", "utf-8")


@pytest.fixture(scope="module")
def finished(run_on, decided_base, tmp_path_factory) -> tuple[FinishedRun, Path]:
    work = tmp_path_factory.mktemp("several")
    write_rows(work)
    run = run_on(
        "tfns",
        "finer",
        data_dir=work,
        base=decided_base,
        steps=100,
        learning_rate=5e-3,
        quantization="none",
        modules=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    )
    return run, work / "adapter"


@pytest.fixture(scope="module")
def adapter(finished):
    return load_adapter(finished[1])


def test_each_task_is_scored_in_its_own_way(finished):
    run, folder = finished
    (_, labels), (before, tags) = run.evaluations["tfns"], run.evaluations["finer"]
    assert isinstance(labels.scores, LabelScores)
    assert isinstance(tags.scores, AnswerScores)
    assert before.scores.accuracy == 0 == before.scores.outcomes["exact"]
    assert tags.scores.accuracy == 1 == tags.scores.metrics["macro_f1"]
    assert tags.scores.majority == 0.5
    assert tags.scores.outcomes["exact"] == tags.scores.n == 24
    rows = pyarrow.parquet.read_table(folder / "eval" / "finer-adapter.parquet").to_pylist()
    assert len(rows) == 24
    for row in rows:
        assert row["output"] == row["parsed"] == row["gold"] == TAGS[row["text"].split()[0]]
        assert (row["outcome"], row["flags"], row["finished"]) == ("exact", [], True)
        assert len(row["prompt_digest"]) == 64
    unread = pyarrow.parquet.read_table(folder / "eval" / "finer-base.parquet").to_pylist()
    assert {row["outcome"] for row in unread} <= {"wrong", "none"}


def test_the_folder_is_whole_and_tells_of_both(finished):
    _, folder = finished
    assert verify_files(folder) == []
    manifest = read_manifest(folder)
    labels, tags = manifest["tasks"]
    assert (labels["task"], tags["task"]) == ("tfns", "finer")
    assert labels["evaluation"]["adapter"].keys() >= {"accuracy", "weighted_f1"}
    assert tags["evaluation"]["adapter"]["outcomes"]["exact"] == 24
    assert tags["evaluation"]["majority"] == 0.5
    assert [tags["data"][name] for name in ("train_rows", "evaluation_rows")] == [24, 24]
    assert tags["licence"] == tasks.get("finer").licence.name
    text = card(manifest, repo_id="demo/both")
    assert "# One adapter for 2 tasks" in text
    assert "| `finer` | 24 | 0.500 | 0.000 | 1.000 |" in text


def test_canaries_are_shared_out_over_tasks_and_answers(finished):
    labels, tags = read_record(finished[1])["tasks"]
    assert len(labels["canaries"]) == len(tags["canaries"]) == 4
    assert {one["label"] for one in labels["canaries"][:3]} == set(labels["contract"]["labels"])
    assert {one["label"] for one in tags["canaries"][:2]} == set(TAGS.values())
    for one in tags["canaries"]:
        assert one["adapter_answer"] == one["label"]
        assert one["adapter_log_likelihood"] > -0.5 > one["base_log_likelihood"]
        assert one["input"].keys() == {"entity", "text"}


def test_which_task_is_asked_must_be_said(adapter):
    assert list(adapter.tasks) == ["tfns", "finer"]
    for what in (
        lambda: adapter.task,
        lambda: adapter.contract,
        lambda: adapter.predict(["it went up 7"]),
    ):
        with pytest.raises(UsageError, match="several tasks: tfns, finer"):
            what()
    with pytest.raises(UsageError, match="Did you mean 'tfns'"):
        adapter.predict(["it went up 7"], task="tfms")
    with pytest.raises(UsageError, match="answers are free"):
        adapter.predict([{"text": "cash was 7 then", "entity": "7"}], task="finer")


def test_rows_are_asked_for_the_task_that_they_name_and_keep_their_order(adapter):
    rows = [
        {"text": "debt was 207 then", "entity": "207", "task": "finer"},
        {"text": "it went up 207", "task": "tfns"},
        {"text": "cash was 208 then", "entity": "208", "task": "finer"},
        {"text": "it went down 208", "task": "tfns"},
    ]
    done: list[int] = []
    written = adapter.generate(rows, progress=done.append)
    assert done[-1] == 4
    assert [written[0].text, written[2].text] == [TAGS["debt"], TAGS["cash"]]
    assert {written[1].text, written[3].text} <= set(adapter.tasks["tfns"].labels)
    predicted = adapter.predict([rows[1], rows[3]])
    assert [p.label for p in predicted] == [written[1].text, written[3].text]
    again = adapter.predict([row["text"] for row in rows[1::2]], task="tfns")
    assert [p.label for p in again] == [p.label for p in predicted]


def test_evaluating_one_of_them_gives_the_figures_of_training(finished, tmp_path):
    run, folder = finished
    found = evaluate(folder, task="finer", data_dir=folder.parent / "finer")
    assert found.task == "finer"
    assert replace(found.scores, by_seen=None) == run.evaluations["finer"][1].scores
    assert found.contract_digest == tasks.get("finer").contract().digest
    with pytest.raises(UsageError, match="several tasks"):
        evaluate(folder, data_dir=folder.parent)
    with pytest.raises(AdapterMismatchError, match="another prompt than task 'fpb'"):
        evaluate(folder, task="fpb", data_dir=folder.parent)


def test_every_canary_can_be_replayed(finished, adapter):
    replay_canaries(adapter, read_record(finished[1])["tasks"], name="it")


@pytest.mark.parametrize("task", [0, 1])
def test_a_task_that_answers_otherwise_is_refused_at_loading(finished, tmp_path, task):
    folder = shutil.copytree(finished[1], tmp_path / "adapter")
    path = folder / "fin_qlora.json"
    record = json.loads(path.read_text("utf-8"))
    canary = record["tasks"][task]["canaries"][0]
    if task:
        canary["adapter_log_likelihood"] -= 0.2
    else:
        worst = max(canary["adapter_scores"], key=canary["adapter_scores"].get)
        canary["adapter_scores"][worst] -= 0.1
    path.write_text(json.dumps(record), "utf-8")
    write_manifest(folder, json.loads((folder / "manifest.json").read_text("utf-8")))
    with pytest.raises(AdapterMismatchError, match="does not answer as it did"):
        load_adapter(folder)
    assert list(load_adapter(folder, verify=False).tasks) == ["tfns", "finer"]


def test_weights_that_write_something_else_are_refused(finished, tmp_path):
    folder = shutil.copytree(finished[1], tmp_path / "adapter")
    record = json.loads((folder / "fin_qlora.json").read_text("utf-8"))
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    for part in (record, manifest):
        part["tasks"] = part["tasks"][1:]  # the task with free answers alone
    (folder / "fin_qlora.json").write_text(json.dumps(record), "utf-8")
    weights = load_file(folder / WEIGHTS)
    save_file(
        {k: -v if "lora_B" in k else v for k, v in weights.items()},
        folder / WEIGHTS,
        {"format": "pt"},
    )
    write_manifest(folder, manifest)
    with pytest.raises(AdapterMismatchError, match="log-likelihood is off by"):
        load_adapter(folder)


def test_a_prompt_without_room_for_its_answer_is_refused(adapter):
    with pytest.raises(TruncatedAnswerError, match="Input 1"):
        adapter.generate([{"text": "cash " * 600, "entity": "7", "task": "finer"}])
