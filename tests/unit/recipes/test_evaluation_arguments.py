"""Settings of an evaluation: a recipe, flags that win, and nothing that is not followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fin_qlora import tasks
from fin_qlora.errors import UsageError
from fin_qlora.evaluation import EvaluationSettings
from fin_qlora.recipes import recipe_names
from fin_qlora.recipes.evaluation_arguments import parse_evaluation

SHIPPED = [name for name in recipe_names() if name.startswith("evaluation/")]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_parses_and_names_tasks(name):
    found = parse_evaluation(["--config", name])
    assert set(found.settings.tasks) <= set(tasks.names())
    assert found.settings.tasks
    assert found.model
    assert ("8bit" in name) == (found.quantization == "8bit")
    assert found.out == f"runs/{name.split('/')[1]}-evaluation"


def test_the_papers_sets_have_their_recipes():
    assert {
        "evaluation/demo-tiny",
        "evaluation/six_sets-70b-8bit",
        "evaluation/six_sets-8b-8bit",
        "evaluation/tags_values-8b-8bit",
    } == set(SHIPPED)
    large = parse_evaluation(["--config", "evaluation/six_sets-70b-8bit"])
    assert large.model == "meta-llama/Llama-3.1-70B-Instruct"
    assert len(large.settings.tasks) == 6


def test_flags_win_over_the_recipe():
    found = parse_evaluation(
        [
            *("--config", "evaluation/demo-tiny", "--task", "tfns", "--data_dir", "D"),
            *("--quantization", "4bit", "--limit", "5", "--out", "O", "--form", "chat"),
            *("--abstain_below", "0.7", "--answers", "likelihood", "--shots", "2"),
        ]
    )
    assert found.settings.tasks == ("tfns",)
    assert (found.quantization, found.settings.limit, found.folder) == ("4bit", 5, Path("O"))
    assert found.settings.data_dir == Path("D")
    assert (found.settings.form, found.settings.abstain_below) == ("chat", 0.7)
    assert (found.settings.answers, found.settings.shots) == ("likelihood", 2)


def test_several_tasks_may_be_flags():
    found = parse_evaluation(["--model", "a/b", "--tasks", "tfns", "ner"])
    assert found.settings.tasks == ("tfns", "ner")
    assert found.out == "runs/b-evaluation"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "No model is named"),
        (["--model", "a/b", "--limt", "5"], "Did you mean '--limit'"),
        (["--model", "a/b", "--limit", "0"], "limit is 0"),
        (["--model", "a/b", "--batch_size", "0"], "batch_size is 0"),
        (["--model", "a/b", "--shots", "-1"], "shots is -1"),
        (["--model", "a/b", "--answers", "guess"], "invalid choice: 'guess'"),
        (["--model", "a/b", "--task", "x", "--tasks", "y"], "task is 'x', and tasks are y"),
        (["--model", "a/b", "--restart", "true"], "restart is set without out"),
        (["--model", "a/b", "--pipeline_stages", "0"], "pipeline_stages is 0"),
        (["--model", "a/b", "--learning_rate", "1"], "There is no flag '--learning_rate'"),
    ],
)
def test_what_makes_no_sense_is_refused(flags, said):
    with pytest.raises(UsageError, match=said):
        parse_evaluation(flags)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("answers: guess", "'answers' to 'guess', but it takes one of likelihood, generate, both"),
        ("split: tset", "'split' to 'tset', but it takes one of train"),
        ("quantization: 5bit", "'quantization' to '5bit', but it takes one of 4bit"),
        ("form: prose", "'form' to 'prose', but it takes one of plain, chat"),
        ("on_overlong: cut", "'on_overlong' to 'cut', but it takes one of raise, wrong"),
        ("batch_size: 2.5", "'batch_size' to 2.5, but it takes a whole number"),
        ("batch_size:", "'batch_size' to None, but it takes a whole number"),
        ("limit: [1]", r"'limit' to \[1\], but it takes a whole number"),
        ("revision: 1234567", "takes text. Put it in quotes"),
        ("abstain_below: [0.5]", "takes a number"),
        ("abstain_below: 7", "abstain_below is 7"),
        ("shots: many", "invalid int value: 'many'"),
        ("tasks: [1, 2]", "Write a list of names"),
        ("tasks: ner", "Write a list"),
    ],
)
def test_a_value_that_a_setting_does_not_take_is_refused_in_a_recipe_too(tmp_path, line, said):
    path = tmp_path / "mine.yaml"
    path.write_text(f"model: a/b\n{line}\n", "utf-8")
    with pytest.raises(UsageError, match=said):
        parse_evaluation(["--config", str(path)])


def test_what_may_be_left_out_may_be_null_and_text_may_be_a_number(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: a/b\nlimit: null\nform:\nbatch_size: '4'\nabstain_below: 1\n", "utf-8")
    found = parse_evaluation(["--config", str(path)])
    assert (found.limit, found.form, found.batch_size, found.abstain_below) == (None, None, 4, 1)


def test_a_folder_that_is_named_by_dots_gives_its_own_name(tmp_path, monkeypatch):
    (tmp_path / "adapter").mkdir()
    monkeypatch.chdir(tmp_path / "adapter")
    assert parse_evaluation(["--model", "."]).out == "runs/adapter-evaluation"


@pytest.mark.parametrize(
    "wrong",
    [{"answers": "guess"}, {"split": "tset"}, {"form": "prose"}, {"on_overlong": "cut"}],
)
def test_settings_of_a_program_are_held_to_the_same_choices(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is '"):
        EvaluationSettings(**wrong)


def test_an_unknown_key_of_a_recipe_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: a/b\ntaks: [ner]\n", "utf-8")
    with pytest.raises(UsageError, match="sets 'taks', which does not exist"):
        parse_evaluation(["--config", str(path)])
