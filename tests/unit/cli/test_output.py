"""Data goes to stdout in the format that was asked for; the rest goes to stderr."""

import json
import sys

import pytest

from fin_qlora.cli.output import Output, table


def test_result_in_each_format(capsys):
    for name in ("human", "json", "quiet"):
        Output(format=name).result({"a": "ä"}, human="a is ä", quiet="ä")
    human, *middle, quiet = capsys.readouterr().out.splitlines()
    assert (human, quiet) == ("a is ä", "ä")
    assert json.loads("\n".join(middle)) == {"a": "ä"}


def test_a_stream_is_one_object_a_line(capsys):
    output = Output(format="json")
    for number in range(3):
        output.line({"n": number}, human="", quiet="")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["n"] for line in lines] == [0, 1, 2]


def test_notes_are_no_data_and_quiet_leaves_them_out(capsys):
    Output(format="human").note("working")
    Output(format="quiet").note("working")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "working\n")


def test_a_plain_table_is_aligned_and_has_no_colour():
    lines = table(("A", "LONG"), [("xx", "1"), ("y", "2")], title="T").splitlines()
    assert lines == ["T", "", "A   LONG", "--  ----", "xx  1", "y   2"]


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_drawn_table_respects_no_color(monkeypatch, no_color):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    text = table(("A",), [("[bold]x",)], title="T")
    assert "[bold]x" in text.replace("\x1b[0m", "")
    colours = ("\x1b[3", "\x1b[4", "\x1b[9")
    assert not no_color or not any(f"{start}{n}m" in text for start in colours for n in range(8))


def test_a_dumb_terminal_gets_plain_text(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    assert table(("A",), [("x",)]) == "A\n-\nx"
