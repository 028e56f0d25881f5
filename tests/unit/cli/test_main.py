"""What holds for every command: formats, spellings, errors, exit codes, and a quick start."""

import json
import subprocess
import sys

import pytest

COMMANDS = [
    "demo",
    "train",
    "evaluate",
    "predict",
    "push",
    "pull",
    "verify",
    "recipes",
    "tasks",
    "doctor",
]


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, **options
    )


def test_help_lists_every_command_and_every_exit_code(fin_qlora):
    said = fin_qlora("--help")
    assert said.code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in said.out
    for code in (0, 1, 2, 3, 4, 5, 130):
        assert f"\n    {code} " in said.out


@pytest.mark.parametrize("command", [*COMMANDS, "recipes ls", "recipes show", "tasks ls"])
def test_every_command_has_help(fin_qlora, command):
    said = fin_qlora(*command.split(), "--help")
    assert said.code == 0
    assert "Usage: fin-qlora " + command in said.out


def test_help_loads_no_heavy_library():
    program = (
        "import sys\nfrom fin_qlora.cli.main import run\nrun(['--help'])\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'numpy', 'jsonschema', 'rich'}\n"
        "print(heavy & set(sys.modules), file=sys.stderr)"
    )
    assert python("-c", program).stderr.strip() == "set()"


def test_the_version(fin_qlora):
    import fin_qlora as package

    assert fin_qlora("--version").out == f"{package.__version__}\n"


def test_without_arguments_it_shows_help(fin_qlora):
    said = fin_qlora()
    assert said.code == 2
    assert "Commands:" in said.out + said.err


@pytest.mark.parametrize(
    "arguments", [("--format", "json", "tasks", "ls"), ("tasks", "ls", "--format=json")]
)
def test_the_format_stands_before_or_after_the_command(fin_qlora, arguments):
    said = fin_qlora(*arguments)
    assert said.code == 0
    assert {task["name"] for task in json.loads(said.out)["tasks"]} >= {"tfns"}


def test_the_later_format_wins(fin_qlora):
    said = fin_qlora("--format", "json", "tasks", "ls", "--format", "quiet")
    assert "tfns" in said.out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trian", "x"], "No such command 'trian'. Did you mean 'train'?"),
        (["recipes", "shwo", "x"], "Did you mean 'show'?"),
        (
            ["evaluate", "m", "--datadir", "d"],
            "There is no flag '--datadir'. Did you mean '--data-dir'",
        ),
        (["evaluate", "m", "--zzz", "d"], "There is no flag '--zzz'. See --help."),
        (["evaluate", "m", "--split", "dev"], "'dev' is not one of 'train', 'validation', 'test'."),
        (["--format", "yaml", "tasks", "ls"], "'yaml' is none of human, json, quiet."),
        (["pull"], "Missing argument 'REPO'."),
        (
            ["recipes", "show", "classification/tfns-tiny-4bit-r5"],
            "Did you mean 'classification/tfns",
        ),
    ],
)
def test_a_wrong_command_line_is_one_sentence_with_the_right_spelling(
    fin_qlora, arguments, sentence
):
    said = fin_qlora(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert sentence in said.err
    assert len(said.err.strip().splitlines()) == 1


@pytest.mark.parametrize("flag", ["--data-dir", "--data_dir"])
def test_both_spellings_of_a_flag(fin_qlora, flag, tmp_path):
    said = fin_qlora("evaluate", "no/such", "--task", "tfns", flag, tmp_path, "--out", "x.json")
    assert "'x.json' is no folder" in said.err


@pytest.mark.parametrize(("debug", "lines"), [("", 1), ("1", 5)])
def test_a_traceback_is_shown_only_when_asked_for(fin_qlora, monkeypatch, debug, lines):
    def broken() -> list[str]:
        raise RuntimeError("boom")

    monkeypatch.setattr("fin_qlora.cli.tasks.names", broken)
    monkeypatch.setenv("FIN_QLORA_DEBUG", debug)
    said = fin_qlora("tasks", "ls")
    assert said.code == 1
    assert "boom" in said.err
    assert ("Traceback" in said.err) == bool(debug)
    assert len(said.err.splitlines()) >= lines


def test_debug_is_a_flag_too(fin_qlora, monkeypatch):
    def broken() -> list[str]:
        raise RuntimeError("boom")

    monkeypatch.setattr("fin_qlora.cli.tasks.names", broken)
    assert "Traceback" in fin_qlora("--debug", "tasks", "ls").err


def test_an_interrupt_is_130(fin_qlora, monkeypatch):
    def interrupted() -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("fin_qlora.cli.tasks.names", interrupted)
    assert fin_qlora("tasks", "ls").code == 130


def test_a_closed_pipe_ends_quietly():
    command = [sys.executable, "-m", "fin_qlora.cli", "tasks", "ls"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
