"""Settings of an evaluation: a recipe, flags that win, and nothing that is not followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fin_qlora import tasks
from fin_qlora.errors import UsageError
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


def test_an_unknown_key_of_a_recipe_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: a/b\ntaks: [ner]\n", "utf-8")
    with pytest.raises(UsageError, match="sets 'taks', which does not exist"):
        parse_evaluation(["--config", str(path)])
