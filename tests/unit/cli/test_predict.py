"""`fin-qlora predict` takes texts from anywhere and prints labels as they come."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

from fin_qlora.inference import Prediction


class Adapter:
    """Answers "long" for inputs of more than five letters."""

    contract = SimpleNamespace(labels=("short", "long"), fields=("text",))

    def __init__(self):
        self.batches = []

    def predict(self, rows):
        self.batches.append(list(rows))
        texts = [row if isinstance(row, str) else row["text"] for row in rows]
        labels = ["long" if len(text) > 5 else "short" for text in texts]
        return [Prediction(label=each, score=0.75, scores={each: 0.75}) for each in labels]


@pytest.fixture
def loaded(monkeypatch):
    adapter = Adapter()
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
