"""Recipes: what they set, and what a typo in one is told."""

from __future__ import annotations

import pytest

from fin_qlora import tasks
from fin_qlora.errors import MissingFileError, UnknownNameError, UsageError
from fin_qlora.recipes import recipe_names, recipe_path
from fin_qlora.recipes.arguments import parse


@pytest.fixture
def recipe(tmp_path):
    def write(text: str) -> list[str]:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return ["--config", str(path)]

    return write


@pytest.mark.parametrize("name", [n for n in recipe_names() if n.startswith("classification/")])
def test_every_shipped_recipe_parses_and_names_a_task(name):
    run, training, base = parse(["--config", name])
    assert run.task in tasks.names()
    assert training.output_dir == f"runs/{name.split('/')[1]}"
    assert base.load_in_4bit != base.load_in_8bit
    assert ("4bit-r4" in name) == (base.load_in_4bit and base.lora_r == 4)
    assert ("8bit-r8" in name) == (base.load_in_8bit and base.lora_r == 8)


def test_flags_win_over_the_recipe_in_both_spellings(recipe):
    given = recipe("task: tfns\nlearning_rate: 1.0e-3\nlora_r: 8\n")
    run, training, base = parse([*given, "--learning-rate", "2e-3", "--lora_r=2"])
    assert (run.task, training.learning_rate, base.lora_r) == ("tfns", 2e-3, 2)


def test_the_papers_preset_is_the_default(recipe):
    _, training, base = parse(recipe("task: tfns\n"))
    assert (base.lora_r, base.lora_alpha, base.lora_dropout) == (4, 32, 0.1)
    assert base.lora_target_modules == ["q_proj", "k_proj", "v_proj"]
    assert training.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("text", "flags", "says"),
    [
        ("task: tfns\nlerning_rate: 1\n", [], "Did you mean 'learning_rate'"),
        ("task: tfns\n", ["--lora-rr", "4"], "Did you mean '--lora_r'"),
        ("task: tfns\n", ["--learn", "4"], "no flag '--learn'"),
        ("task: tfns\nsave_strategy: no\n", [], 'quote it: save_strategy: "no"'),
        ("task: tfns\nload_in_4bit: true\nload_in_8bit: true\n", [], "both set"),
        ("lora_r: 4\n", [], "No task is named"),
        ("- a\n- b\n", [], "holds no settings"),
        ("task: [tfns\n", [], "not valid YAML"),
        ("task: tfns\nlora_r: four\n", [], "four"),
        ("task: tfns\n", ["--num_train_epochs", "many"], "many"),
        ("task: tfns\n", ["--form", "poem"], "poem"),
    ],
)
def test_a_typo_is_an_error_that_says_what_is_right(recipe, text, flags, says):
    with pytest.raises(UsageError, match=says.replace("'", ".")):
        parse([*recipe(text), *flags])


def test_an_unknown_recipe_is_told_the_nearest():
    with pytest.raises(UnknownNameError, match="classification/tfns-tiny-4bit-r4"):
        recipe_path("classification/tfns-tiny-4bits-r4")
    with pytest.raises(MissingFileError):
        recipe_path("nowhere/mine.yaml")


def test_a_shipped_deepspeed_configuration_is_found_by_name(recipe, monkeypatch):
    from fin_qlora.recipes import arguments

    given = [*recipe("task: tfns\n"), "--deepspeed", "adamw_zero1_bf16"]
    assert arguments._named_deepspeed(given)[-1].endswith("ds_configs/adamw_zero1_bf16.json")
