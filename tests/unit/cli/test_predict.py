"""`fin-qlora predict` takes texts from anywhere and prints labels as they come."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

from fin_qlora import inference
from fin_qlora.inference import Generated, Prediction
from fin_qlora.tasks import get

LENGTH = SimpleNamespace(labels=("short", "long"), fields=("text",), grammar="label")


class Adapter(inference.Adapter):
    """Answers "long" for inputs of more than five letters, and free questions by their end."""

    def __init__(self, tasks):
        super().__init__(model=None, tokenizer=None, tasks=tasks, base=None)
        self.batches = []

    def generate(self, rows, *, task=None):
        return [Generated(text=row["text"][-4:], finished=True) for row in rows]

    def predict(self, rows, *, task=None):
        self.batches.append(list(rows))
        texts = [row if isinstance(row, str) else row["text"] for row in rows]
        labels = ["long" if len(text) > 5 else "short" for text in texts]
        return [Prediction(label=each, score=0.75, scores={each: 0.75}) for each in labels]


@pytest.fixture
def loaded(monkeypatch):
    return stand_in(monkeypatch, {"length": LENGTH})


def stand_in(monkeypatch, tasks):
    adapter = Adapter(tasks)
    monkeypatch.setattr("fin_qlora.inference.load_adapter", lambda *_args, **_options: adapter)
    return adapter


def test_texts_of_the_command_line(fin_qlora, loaded):
    said = fin_qlora("predict", "a/b", "tiny", "enormous")
    assert said.out.splitlines() == [
        "LABEL  SCORE  TEXT",
        "short  0.750  tiny",
        "long   0.750  enormous",
    ]
    assert said.err == "Loading a/b\n"


def test_quiet_prints_labels_alone(fin_qlora, loaded):
    said = fin_qlora("predict", "a/b", "tiny", "enormous", "--format", "quiet")
    assert (said.out, said.err) == ("short\nlong\n", "")


def test_stdin_when_it_is_piped(fin_qlora, loaded, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("tiny\n\nenormous\n"))
    assert fin_qlora("predict", "a/b", "--format", "quiet").out == "short\nlong\n"


def test_a_terminal_is_not_waited_for(fin_qlora, loaded, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    said = fin_qlora("predict", "a/b")
    assert said.code == 2
    assert "pipe lines" in said.err


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "tiny\n\n enormous \n", ["tiny", "enormous"]),
        (
            "a.jsonl",
            '{"text": "tiny", "entity": "x"}\n"enormous"\n',
            [{"text": "tiny", "entity": "x"}, "enormous"],
        ),
        ("a.csv", 'text,entity\n"ti\nny",x\n', [{"text": "ti\nny", "entity": "x"}]),
    ],
)
def test_files(fin_qlora, loaded, tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content.encode())
    said = fin_qlora("predict", "a/b", "--file", tmp_path / name, "--format", "json")
    assert [json.loads(line)["input"] for line in said.out.splitlines()] == expected
    assert loaded.batches == [expected]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"\xff\xfe", "is not UTF-8"),
        ("a.jsonl", b"{", "cannot be read"),
        ("a.jsonl", b"[1]", "line 1 is neither"),
        ("a.csv", b"sentence\nx\n", "no column 'text'"),
        ("a.txt", b"\n", "no text to predict"),
    ],
)
def test_bad_files_are_data_errors(fin_qlora, loaded, tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    said = fin_qlora("predict", "a/b", "--file", tmp_path / name)
    assert said.code == 3
    assert sentence in said.err
    assert said.out == ""


def test_files_that_do_not_exist_or_do_not_fit(fin_qlora, loaded, tmp_path):
    assert fin_qlora("predict", "a/b", "--file", tmp_path / "no.txt").code == 3
    (tmp_path / "a.xlsx").write_bytes(b"")
    said = fin_qlora("predict", "a/b", "--file", tmp_path / "a.xlsx")
    assert (said.code, ".jsonl" in said.err) == (2, True)
    assert fin_qlora("predict", "a/b", "text", "--file", tmp_path / "a.txt").code == 2


def test_many_rows_are_scored_in_batches_and_printed_as_they_come(fin_qlora, loaded, tmp_path):
    (tmp_path / "a.txt").write_text("x\n" * 70)
    said = fin_qlora("predict", "a/b", "--file", tmp_path / "a.txt", "--format", "quiet")
    assert len(said.out.splitlines()) == 70
    assert [len(batch) for batch in loaded.batches] == [32, 32, 6]


def test_an_adapter_of_several_tasks_asks_each_row_for_its_own(fin_qlora, monkeypatch, tmp_path):
    stand_in(monkeypatch, {"length": LENGTH, "value": get("xbrl_value").contract()})
    rows = [
        {"text": "cash of 4200", "question": "q", "task": "value"},
        {"text": "tiny", "task": "length"},
        {"text": "debt of 17.5", "question": "q", "task": "value"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = fin_qlora("predict", "a/b", "--file", tmp_path / "a.jsonl", "--format", "json")
    first, second, third = map(json.loads, said.out.splitlines())
    assert (first["task"], first["answer"], first["finished"]) == ("value", "4200", True)
    assert (second["task"], second["label"], second["score"]) == ("length", "short", 0.75)
    assert third["answer"] == "17.5"
    said = fin_qlora("predict", "a/b", "--file", tmp_path / "a.jsonl")
    header, line, *_ = said.out.splitlines()
    assert header.split() == ["ANSWER", "SCORE", "TEXT"]
    assert line.split() == ["4200", "cash", "of", "4200", "[question=q]"]


def test_which_of_several_tasks_must_be_said(fin_qlora, monkeypatch):
    adapter = stand_in(monkeypatch, {"length": LENGTH, "value": get("xbrl_value").contract()})
    said = fin_qlora("predict", "a/b", "tiny")
    assert said.code == 2
    assert "several tasks: length, value" in said.err
    assert "--task" in said.err
    said = fin_qlora("predict", "a/b", "tiny", "--task", "lenght")
    assert said.code == 2
    assert "Did you mean 'length'?" in said.err
    assert adapter.batches == []
    said = fin_qlora("predict", "a/b", "tiny", "--task", "length", "--format", "quiet")
    assert said.out == "short\n"
