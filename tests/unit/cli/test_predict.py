"""`fin-qlora predict` takes texts from anywhere and prints labels as they come."""

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fin_qlora import inference
from fin_qlora.errors import TruncatedAnswerError
from fin_qlora.inference import Generated, Prediction
from fin_qlora.tasks import get

LENGTH = SimpleNamespace(labels=("short", "long"), fields=("text",), grammar="label")


class Adapter(inference.Adapter):
    """Answers "long" for inputs of more than five letters, and free questions by their end."""

    def __init__(self, tasks):
        first = SimpleNamespace(name="first", slot="default", tasks=tasks, calibrations={})
        super().__init__(first, base=None, base_folder=None, quantization="none")
        self.batches = []
        self.added = []

    def add(self, reference, name=None, *, verify=True):
        self.added.append((reference, name, verify))

    def generate(self, rows, *, task=None):
        return [Generated(text=row["text"][-4:], finished=True) for row in rows]

    def stream(self, rows, *, task=None, abstain_below=None):
        self.batches.append(list(rows))
        for row in rows:
            text = row if isinstance(row, str) else row["text"]
            if text == "broken":
                raise TruncatedAnswerError("Input 2 is too long.")
            label = "long" if len(text) > 5 else "short"
            sure = 0.75 if text != "unsure" else 0.4
            abstains = abstain_below is not None and sure < abstain_below
            yield Prediction(label=None if abstains else label, score=sure, scores={label: sure})


@pytest.fixture
def loaded(monkeypatch):
    return stand_in(monkeypatch, {"length": LENGTH})


def stand_in(monkeypatch, tasks):
    adapter = Adapter(tasks)

    def load(*_arguments, **options):
        adapter.options = options
        return adapter

    monkeypatch.setattr("fin_qlora.inference.load_adapter", load)
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
        ("a.jsonl", b"{", "Line 1 is not JSON"),
        ("a.jsonl", b"\n[1]", "Line 2 is neither"),
        ("a.csv", b"sentence\nx\n", "no column 'text'"),
        ("a.csv", b"text\nit rose\nit rose, then fell\n", "line 3 has more values"),
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


def test_a_label_that_is_not_probable_enough_is_not_given(fin_qlora, loaded):
    said = fin_qlora("predict", "a/b", "tiny", "unsure", "--abstain-below", "0.5")
    assert said.out.splitlines()[1:] == ["short  0.750  tiny", "-      0.400  unsure"]
    said = fin_qlora(
        "predict", "a/b", "tiny", "unsure", "--abstain-below", "0.5", "--format", "json"
    )
    assert [json.loads(line)["label"] for line in said.out.splitlines()] == ["short", None]
    assert fin_qlora("predict", "a/b", "tiny", "--abstain-below", "1.5").code == 2


def test_rows_before_one_that_fails_are_printed(fin_qlora, loaded):
    said = fin_qlora("predict", "a/b", "tiny", "broken", "enormous", "--format", "quiet")
    assert (said.code, said.out) == (3, "short\n")
    assert "Input 2 is too long" in said.err


def test_a_row_that_fails_is_named_by_its_number_in_the_file(fin_qlora, loaded, tmp_path):
    (tmp_path / "a.txt").write_text("tiny\n" * 33 + "broken\n")
    said = fin_qlora("predict", "a/b", "--file", tmp_path / "a.txt", "--format", "quiet")
    assert (said.code, len(said.out.splitlines())) == (3, 33)
    assert "Input 34 is too long" in said.err


def test_a_folder_may_have_an_equals_sign(fin_qlora, loaded, tmp_path):
    folder = tmp_path / "lr=1e-4" / "adapter"
    folder.mkdir(parents=True)
    fin_qlora("predict", "a/b", "tiny", "--add", folder, "--add", f"desk={folder}")
    assert loaded.added == [(str(folder), None, True), (str(folder), "desk", True)]


def test_further_adapters_are_added(fin_qlora, loaded):
    said = fin_qlora(
        *("predict", "a/b", "tiny", "--add", "c/d", "--add", "other=e/f"),
        *("--verify", "full", "--format", "quiet"),
    )
    assert said.out == "short\n"
    assert loaded.added == [("c/d", None, "full"), ("e/f", "other", "full")]
    assert loaded.options["verify"] == "full"
    fin_qlora("predict", "a/b", "tiny", "--verify", "none")
    assert loaded.options["verify"] is False


def test_a_piped_line_is_answered_before_the_next_one_comes(
    fin_qlora, loaded, monkeypatch, tmp_path
):
    reading, writing = os.pipe()
    seen = []
    real = loaded.stream

    def stream(rows, **options):
        found = list(real(rows, **options))
        seen.append(len(rows))
        if len(seen) == 1:  # the second line is written only after the first was answered
            os.write(writing, b"enormous\n\xc3")
            os.write(writing, b"\xa4tiny")
            os.close(writing)
        yield from found

    monkeypatch.setattr(loaded, "stream", stream)
    os.write(writing, b"tiny\n")
    with os.fdopen(reading, encoding="utf-8") as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        said = fin_qlora("predict", "a/b", "--format", "json")
    assert [json.loads(line)["input"] for line in said.out.splitlines()] == [
        "tiny",
        "enormous",
        "ätiny",
    ]
    assert seen[0] == 1


def test_rows_are_piped_as_json(fin_qlora, loaded, monkeypatch):
    lines = '{"text": "tiny", "entity": "x"}\n\n"enormous"\n'
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    said = fin_qlora("predict", "a/b", "--jsonl", "--format", "json")
    assert json.loads(said.out.splitlines()[0])["input"] == {"text": "tiny", "entity": "x"}
    monkeypatch.setattr(sys, "stdin", io.StringIO('"tiny"\n{'))
    said = fin_qlora("predict", "a/b", "--jsonl", "--format", "quiet")
    assert (said.code, "Line 2 is not JSON" in said.err) == (3, True)
    assert said.out == "short\n"
    assert fin_qlora("predict", "a/b", "tiny", "--jsonl").code == 2


def test_what_is_piped_in_must_be_utf8(fin_qlora, loaded, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"tiny\n\xff\n")))
    said = fin_qlora("predict", "a/b")
    assert (said.code, "not UTF-8" in said.err) == (3, True)


PROGRAM = """
import sys
from types import SimpleNamespace
from fin_qlora import inference
from fin_qlora.cli.main import run
from fin_qlora.inference import Prediction

class Adapter:
    tasks = {"length": SimpleNamespace(labels=("long",), grammar="label")}
    def task_of(self, row, *, task=None):
        return "length"
    def stream(self, rows, **_):
        return iter([Prediction(label="long", score=1.0, scores={"long": 1.0}) for _ in rows])

inference.load_adapter = lambda *_, **__: Adapter()
sys.exit(run(["predict", "a/b", "--format", "quiet"]))
"""


def test_a_reader_that_has_seen_enough_is_no_error():
    started = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with started:
        started.stdin.write("enormous\n" * 5000)
        assert started.stdout.readline() == "long\n"
        started.stdout.close()
        started.stdin.close()
        said = started.stderr.read()
        assert (started.wait(timeout=120), said) == (0, "")
