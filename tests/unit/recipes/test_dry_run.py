"""A dry run checks every row and says what would be done, without weights and without a GPU."""

from __future__ import annotations

import json
import shutil

import pytest

from fin_qlora.exits import run_guarded
from fin_qlora.recipes import classification, xbrl


@pytest.fixture
def base(small_base, tmp_path):
    """A base of which only the tokenizer and config.json are at hand."""
    folder = tmp_path / "base"
    shutil.copytree(small_base, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


@pytest.fixture
def plan(base, tmp_path, capfd):
    """Make a dry run in this process; return its exit code, its plan and what it told."""

    def run(module, *flags):
        given = ["--model_name_or_path", str(base), "--load_in_4bit", "true", "--dry_run", "true"]
        given += ["--output_dir", str(tmp_path / "out"), *map(str, flags)]
        capfd.readouterr()
        code = run_guarded(lambda: module.main(given))
        said = capfd.readouterr()
        assert not (tmp_path / "out").exists()
        return code, json.loads(said.out) if said.out else None, said.err

    return run


@pytest.fixture
def data(tmp_path):
    """Made-up rows of two sentiment sets, in folders of their own; one repeats the other."""
    for name in ("fpb", "tfns"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for split in ("train", "test"):
            lines = [
                f"{name} {split} {way} {n},{label}"
                for n in range(6)
                for way, label in (("fell", "negative"), ("rose", "positive"), ("held", "neutral"))
            ]
            more = ["fpb test rose 3,positive"] if (name, split) == ("tfns", "train") else []
            text = "\n".join(["text,label", *lines, *more])
            (folder / f"{split}.csv").write_text(f"{text}\n", encoding="utf-8")
    return tmp_path / "data"


def test_the_plan_of_several_tasks(plan, data):
    code, found, told = plan(
        classification, "--tasks", "fpb", "tfns", "--data_dir", data, "--global_batch_size", 32
    )
    assert code == 0, told
    assert found["base"]["digest"] is None
    assert found["batch"]["gradient_accumulation_steps"] == 4
    assert found["speaks_to"] == []
    fpb, tfns = found["tasks"]
    assert (fpb["noncommercial"], tfns["noncommercial"]) == (True, False)
    assert (fpb["train"]["rows"], tfns["train"]["rows"]) == (18, 18)
    assert tfns["train"]["dropped"]["also in evaluation of fpb"] == 1
    for sentence in (
        "task fpb: data for non-commercial use only (CC-BY-NC-SA-3.0)",
        "left out: 1 (also in evaluation of fpb)",
        "weights not at hand, so their digest is not known",
        "global batch 32 = 8 rows x 1 processes x 4 accumulated; 2 steps an epoch, 6 in all",
    ):
        assert sentence in told


def test_the_plan_of_questions_about_filings(plan, xbrl_questions):
    code, found, told = plan(
        xbrl,
        *("--tasks", "xbrl_tag", "xbrl_value", "--data_dir", xbrl_questions),
        *("--max_length", 260, "--on_overlong", "shorten", "--evaluation_rows", 2),
    )
    assert code == 0, told
    tag, value = found["tasks"]
    assert (tag["train"]["rows"], tag["train"]["answers"]) == (12, 1)
    assert (value["train"]["rows"], value["train"]["answers"]) == (12, 12)
    assert tag["evaluation"]["dropped"] == {"beyond evaluation_rows=2": 2}
    assert tag["longest_row_tokens"] <= 260
    assert tag["shortened"]["train"]["facts"] >= 12
    assert "train: rows shortened: 12, by" in told


def test_rows_that_are_longer_than_the_base_was_made_for_are_told(plan, data, base):
    config = json.loads((base / "config.json").read_text("utf-8"))
    (base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 20}), "utf-8")
    code, found, told = plan(classification, "--task", "fpb", "--data_dir", data)
    assert (code, found["base_positions"]) == (0, 20)
    longest = found["tasks"][0]["longest_row_tokens"]
    assert f"the base was made for 20 tokens; the longest row has {longest}" in told


def test_a_tracker_that_would_leave_is_told(plan, data, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.bank.example")
    _, found, told = plan(
        classification, "--task", "fpb", "--data_dir", data, "--report_to", "wandb"
    )
    assert found["speaks_to"] == ["wandb.bank.example"]
    assert "report_to wandb speaks to wandb.bank.example" in told


@pytest.mark.parametrize(
    ("flags", "code", "sentence"),
    [
        (["--task", "xbrl_tag"], 2, "Task 'xbrl_tag' has no labels"),
        (["--task", "tfsn"], 2, "Did you mean 'tfns'?"),
        (["--task", "tfns", "--optim", "zero_one_adam"], 2, "there is only one"),
        (["--task", "tfns", "--fp16", "true"], 4, "on a processor"),
        (["--task", "tfns", "--max_length", "30"], 3, "longer than max_length=30"),
        (["--task", "nwgi"], 3, "has no test file"),
        (["--task", "tfns", "--global_batch_size", "12"], 2, "global_batch_size"),
    ],
)
def test_a_finding_is_one_sentence_and_an_exit_code(plan, data, flags, code, sentence):
    found, printed, told = plan(classification, "--data_dir", data, *flags)
    assert (found, printed) == (code, None)
    assert sentence in told


def test_the_xbrl_recipe_is_not_for_labels(plan, data):
    code, _, told = plan(xbrl, "--task", "tfns", "--data_dir", data)
    assert code == 2
    assert "fin_qlora.recipes.classification" in told
