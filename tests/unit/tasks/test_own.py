"""A user's own task: from YAML, from Python, from an installed package; and what is refused."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml

from fin_qlora import tasks
from fin_qlora.data.table import read_splits
from fin_qlora.errors import DataError, MissingFileError
from fin_qlora.tasks import own

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"
SMALL = {
    "name": "mine",
    "labels": [{"name": "up", "meaning": "it rises"}, {"name": "down", "meaning": "it falls"}],
    "instruction": "Up or down?",
    "files": {"train": "a.csv", "test": "b.csv"},
    "licence": {"name": "internal"},
}


def changed(**values):
    return {**SMALL, **values}


@pytest.fixture
def write(tmp_path):
    def write(values) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path

    return write


def test_the_examples_of_the_manual_are_one_task():
    from_yaml, from_python = (tasks.get(EXAMPLES / f"desk_notes.{kind}") for kind in ("yaml", "py"))
    assert from_yaml == from_python
    assert tasks.get(str(EXAMPLES / "desk_notes.yaml")).name == "desk_notes"


def test_the_example_reads_splits_and_keeps_clients_apart(tmp_path):
    lines = [
        f"note {client} {number},{verdict},SYM,client {client}"
        for client in range(20)
        for number, verdict in enumerate(("1", "short", "hold"))
    ]
    (tmp_path / "notes.csv").write_text("\n".join(["note,verdict,symbol,account", *lines]))
    found = read_splits(tasks.get(EXAMPLES / "desk_notes.yaml"), data_dir=tmp_path)
    assert list(found) == ["train", "validation", "test"]
    clients = [{row["client"] for row in table.rows} for table in found.values()]
    assert sum(map(len, clients)) == 20
    assert len(set.union(*clients)) == 20
    assert {row["label"] for row in found["train"].rows} == {"buy", "hold", "sell"}


def test_what_is_left_out_has_a_default(write):
    task = tasks.get(write(SMALL))
    assert (task.title, task.input_template, task.answer) == ("mine", "{text}", "label")
    assert task.source.files == {"train": "a.csv", "test": "b.csv"}


def test_a_task_with_free_answers(write):
    values = {key: value for key, value in SMALL.items() if key != "labels"}
    assert tasks.get(write({**values, "answer": "number"})).answer == "number"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (changed(instructions="?"), "unknown field 'instructions'. Did you mean 'instruction'"),
        (changed(zzz="red"), "unknown field 'zzz'. Known: name"),
        (changed(labels=[]), "needs either labels or an answer"),
        (changed(answer="numbr"), "has 'numbr' in 'answer'. Did you mean 'number'"),
        (changed(answer="number"), "needs either labels or an answer"),
        (changed(labels=[{"name": "up", "meaning": "x"}] * 2), "names a label twice"),
        (changed(labels=[{"name": "up", "mening": "x"}]), "labels 1 of .*Did you mean 'meaning'"),
        (changed(files={"trian": "a.csv"}), "has 'trian' in 'files'. Did you mean 'train'"),
        (changed(licence={"name": "x", "noncommercial": "no"}), "neither true nor false"),
        (changed(split={"test": 1.5}), "'test' of 1.5. Give a share"),
        (changed(split={"group": ["text"]}), "unknown field 'group'"),
        (changed(metrics=["accurracy"]), "Did you mean 'accuracy'"),
        (changed(fields="ticker"), "not a list of words"),
        ({key: SMALL[key] for key in ("name", "labels", "licence")}, "has no 'instruction'"),
        ({key: SMALL[key] for key in ("name", "labels", "instruction")}, "has no 'licence'"),
        (["name"], "must be fields with values"),
    ],
)
def test_what_is_wrong_is_named_with_the_nearest_right_word(write, values, says):
    with pytest.raises(DataError, match=says):
        tasks.get(write(values))


def test_files_that_are_no_task(tmp_path):
    with pytest.raises(MissingFileError, match="no task file"):
        tasks.get(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(DataError, match="not YAML"):
        tasks.get(tmp_path / "bad.yaml")
    (tmp_path / "empty.py").write_text("X = 1")
    with pytest.raises(DataError, match="not a Task but NoneType"):
        tasks.get(tmp_path / "empty.py")


def test_an_installed_package_registers_its_task(monkeypatch):
    point = EntryPoint("tfns_copy", "fin_qlora.tasks.sentiment:TFNS", own.ENTRY_POINTS)
    monkeypatch.setattr(own, "entry_points", lambda group: [point])
    own.installed.cache_clear()
    try:
        assert "tfns_copy" in tasks.names()
        with pytest.raises(DataError, match="gives the task 'tfns'"):
            tasks.get("tfns_copy")
    finally:
        own.installed.cache_clear()


def test_the_manual_shows_the_example_as_it_is():
    page = (EXAMPLES.parent / "own-task.md").read_text("utf-8")
    shown = page.partition("```yaml\n")[2].partition("```")[0]
    example = (EXAMPLES / "desk_notes.yaml").read_text("utf-8")
    assert shown == example.partition("\n")[2]
