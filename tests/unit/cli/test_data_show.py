"""`fin-qlora data show` and `data stats` show what training makes of the rows."""

from __future__ import annotations

import json
import re
import sys

import pytest

TEXTS = ["rose", "fell a little", "held " * 30, "is flat and dull"]


@pytest.fixture
def data_dir(tmp_path):
    lines = [f"{TEXTS[n % 4]} {n},{n % 3}" for n in range(24)]
    lines[10] = f"{'very long indeed ' * 60}end,1"
    folder = tmp_path / "data" / "tfns"
    folder.mkdir(parents=True)
    for name in ("sent_train", "sent_valid"):
        text = "\n".join(["text,label", *(f"{name} {line}" for line in lines)])
        (folder / f"{name}.csv").write_text(f"{text}\n", encoding="utf-8")
    return folder.parent


@pytest.fixture
def show(fin_qlora, data_dir):
    def call(*flags):
        said = fin_qlora("data", "show", "tfns", "--data-dir", data_dir, *flags)
        assert said.code == 0, said.err
        return said.out

    return call


def test_the_longest_the_shortest_and_random_rows_are_shown(show):
    out = show("--rows", 2)
    assert re.findall(r"^(\w+) \(row (\d+)\)", out, re.MULTILINE)[:2] == [
        ("Longest", "11"),
        ("Shortest", "1"),
    ]
    assert out.count("Random (row ") == 2
    assert "Instruction: What is the sentiment" in out
    assert "→  negative<|end_of_text|>" in out
    assert "⟦" not in out


def test_the_mask_in_brackets_says_what_is_trained(show):
    out = show("--mask", "--rows", 0)
    assert "⟦answer …⟧ answer, trained" in out
    assert "⟦begin <|begin_of_text|>⟧In│s│truction│:" in out
    assert "⟦answer  negative⟧⟦end <|end_of_text|>⟧" in out
    assert "tokens of the prompt not shown" in out
    assert "not shown" not in show("--mask", "--rows", 0, "--whole")
    assert "control" not in out
    chat = show("--mask", "--form", "chat")
    assert "⟦control <|eot_id|>│<|start_header_id|>⟧ass│ist│ant⟦control" in chat


def test_what_is_cut_is_shown(show):
    out = show("--mask", "--rows", 0, "--shorten-to", 120)
    assert re.search(r"Longest \(row 11\): 1\d\d tokens, 2 trained, \d+ tokens cut", out)
    assert re.search(r"⟦cut [^⟧]+ … [\d,]+ characters … [^⟧]+⟧", out)
    assert "⟦cut …⟧ cut, the model never sees it" in out


def test_as_json_the_ids_can_be_put_together_again(show):
    from fin_qlora import tasks
    from fin_qlora.models.base import load_tokenizer
    from fin_qlora.models.tiny import tiny_base_path

    said = json.loads(show("--mask", "--rows", 1, "--shots", 3, "--format", "json"))
    tokenizer = load_tokenizer(tiny_base_path())
    assert [row["which"] for row in said["shown"]] == ["longest", "shortest", "random"]
    for row in said["shown"]:
        ids = [token for piece in row["pieces"] for token in piece["ids"]]
        assert len(ids) == row["prompt_tokens"] + row["trained_tokens"]
        answer = tasks.get("tfns").contract().answer(tokenizer, row["answer"])
        assert ids[-len(answer) :] == answer
        assert tokenizer.decode(ids).count("Instruction:") == 4
    assert said["contract_digest"] != tasks.get("tfns").contract().digest


def test_colours_only_on_a_terminal_that_wants_them(show, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = show("--mask", "--rows", 0, "--form", "chat")
    assert "\x1b[" in out
    assert "⟦" not in out
    monkeypatch.setenv("NO_COLOR", "1")
    plain = show("--mask", "--rows", 0)
    assert "\x1b[" not in plain
    assert "⟦answer" in plain


def test_statistics_are_plotted_and_drawn(fin_qlora, data_dir, tmp_path):
    figure = tmp_path / "lengths.svg"
    given = ("data", "stats", "tfns", "--data_dir", data_dir)
    said = fin_qlora(*given, "--out", figure)
    assert said.code == 0, said.err
    assert re.search(r"TOKENS\s+ROWS\n\s*\d+-\d+\s+\d+  █", said.out)
    assert "median" in said.out
    assert re.search(r"negative +8 +33\.3%", said.out)
    assert "max_length 512 takes every row whole (1 row exceeds 128" in said.out
    assert figure.read_text("utf-8").startswith("<svg ")
    found = json.loads(fin_qlora(*given, "--format", "json").out)
    assert sum(bar["rows"] for bar in found["bars"]) == found["rows"] == 24
    assert fin_qlora(*given, "--format", "quiet").out == f"{found['percentiles']['100']}\n"


def test_a_figure_that_cannot_be_drawn_is_told_before_any_work(fin_qlora, tmp_path):
    said = fin_qlora("data", "stats", "tfns", "--data_dir", tmp_path, "--out", "a.pdf")
    assert said.code == 2
    assert "neither .svg nor .png" in said.err


def test_a_made_up_task_needs_no_folder(fin_qlora):
    said = fin_qlora("data", "show", "synthetic_ner", "--mask", "--rows", 0)
    assert said.code == 0
    assert "Entity" in said.out.replace("│", "")
