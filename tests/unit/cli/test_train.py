"""`fin-qlora train` shows and runs accelerate launch, and ends with the recipe's own exit code."""

import json
import sys
from pathlib import Path

import pytest

from fin_qlora.cli import launch as launch_module
from fin_qlora.cli.launch import Launch
from fin_qlora.exits import EXIT_CODE_FILE

TFNS = "classification/tfns-tiny-4bit-r4"


@pytest.fixture
def launched(monkeypatch, adapter):
    """What was launched; the program prints the adapter's folder unless told otherwise."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    calls = []

    def run(self, *, on_line, environment=None):
        calls.append(self)
        for line in run.prints:
            on_line(line)
        return run.code

    run.code, run.prints = 0, ["{'loss': 1.0}", str(adapter)]
    monkeypatch.setattr(Launch, "run", run)
    calls.append(run)
    return calls


def test_the_equivalent_command_is_shown_and_every_flag_passes(fin_qlora, launched, adapter):
    said = fin_qlora("train", TFNS, "--data-dir", "data", "--learning_rate=1e-4", "--lora-r", 8)
    assert said.code == 0
    assert said.out == f"{adapter}\n"
    (command,) = [line for line in said.err.splitlines() if line.startswith("$ ")]
    assert command.startswith("$ accelerate launch ")
    assert command.endswith(
        f"-m fin_qlora.recipes.classification --config {TFNS} "
        "--data_dir data --learning_rate=1e-4 --lora_r 8"
    )
    assert "{'loss': 1.0}" in said.err


def test_the_module_is_that_of_the_recipes_tasks(fin_qlora, launched, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: xbrl/tiny-4bit-r4\nseed: 3\n", encoding="utf-8")
    for recipe in ("xbrl/tiny-4bit-r4", mine):
        assert " -m fin_qlora.recipes.xbrl --config " in fin_qlora("train", recipe).err
    said = fin_qlora("train", mine, "--task", "tfns")
    assert " -m fin_qlora.recipes.classification --config " in said.err


def test_a_recipe_that_only_evaluates_is_refused_with_the_command(fin_qlora, launched):
    said = fin_qlora("train", "evaluation/demo-tiny")
    assert said.code == 2
    assert "trains none" in said.err
    assert "-m fin_qlora.recipes.evaluation --config evaluation/demo-tiny" in said.err
    assert launched[1:] == []


def test_json_is_one_object_with_the_scores(fin_qlora, launched, adapter):
    said = fin_qlora("train", TFNS, "--format", "json")
    result = json.loads(said.out)
    assert result["adapter"] == str(adapter)
    assert result["evaluation"]["synthetic_ner"]["majority"] == 0.41


def test_quiet_prints_the_folder_alone(fin_qlora, launched, adapter):
    said = fin_qlora("train", TFNS, "--format", "quiet")
    assert (said.out, said.err) == (f"{adapter}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        (TFNS, "--dry-run"),
        (TFNS, "--dry_run", "true"),
        (TFNS, "--dry-run=True"),
        ("--dry_run", "true", TFNS),
        ("--dry-run", TFNS),
    ],
    ids=" ".join,
)
def test_a_dry_run_prints_the_plan_and_trains_nothing(fin_qlora, launched, arguments):
    launched[0].prints = ["{", '  "task": "tfns"', "}"]
    said = fin_qlora("train", *arguments)
    assert json.loads(said.out) == {"task": "tfns"}
    assert list(launched[1].flags) == ["--dry_run", "true"]


@pytest.mark.parametrize("no", [("--dry_run", "false"), ("--dry-run=no",)])
def test_a_dry_run_that_is_switched_off(fin_qlora, launched, adapter, no):
    said = fin_qlora("train", TFNS, *no, "--load_in_4bit", "true")
    assert said.out == f"{adapter}\n"
    assert list(launched[1].flags) == ["--load_in_4bit", "true"]


def test_a_dry_run_that_is_neither(fin_qlora, launched):
    said = fin_qlora("train", TFNS, "--dry_run=maybe")
    assert (said.code, len(launched)) == (2, 1)
    assert "neither true nor false" in said.err


def test_the_exit_code_of_the_recipe_is_ours(fin_qlora, launched):
    launched[0].code = 3
    assert fin_qlora("train", TFNS).code == 3
    said = fin_qlora("train", TFNS, "--accelerate", "cpu-ddp-2")
    assert said.code == 3
    assert "further up" in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--lora_r", "8", TFNS], 2, "before the recipe"),
        (["classification/tfns-tiny-4bit-r5"], 2, f"Did you mean '{TFNS}'?"),
        ([TFNS, "--accelerate", "cpu-ddp-3"], 2, "Did you mean 'accelerate/cpu-ddp-2'?"),
        (["no/such.yaml"], 3, "does not exist"),
    ],
)
def test_a_wrong_name_is_found_before_anything_starts(
    fin_qlora, launched, arguments, code, sentence
):
    said = fin_qlora("train", *arguments)
    assert said.code == code
    assert sentence in said.err
    assert len(launched) == 1


def test_the_profile_is_accelerates_and_the_threads_are_the_recipes(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    arguments = Launch(recipe=TFNS, profile="cpu-ddp-2", flags=["--cpu_threads", "1"]).arguments()
    assert Path(arguments[arguments.index("--config_file") + 1]).name == "cpu-ddp-2.yaml"
    # accelerate would overwrite the variable; the user's own flag comes last and wins
    assert arguments[-4:] == ["--cpu_threads", "3", "--cpu_threads", "1"]
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert Launch(recipe=TFNS).arguments()[-2:] == ["--config", TFNS]


@pytest.mark.parametrize(("told", "expected"), [("4", 4), ("", 1), (None, 1)])
def test_the_code_that_accelerate_hides_is_read_from_the_file(monkeypatch, told, expected):
    write = "" if told is None else f"open(os.environ['{EXIT_CODE_FILE}'], 'w').write('{told}');"
    program = f"import os, sys; {write} print('line'); sys.exit(1)"
    monkeypatch.setattr(launch_module, "python_module", lambda *_: [sys.executable, "-c", program])
    lines = []
    assert Launch(recipe=TFNS).run(on_line=lines.append) == expected
    assert lines == ["line"]
