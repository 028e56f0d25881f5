"""Recipes: what they set, and what a typo in one is told."""

from __future__ import annotations

import os

import pytest
from trl import SFTConfig

from fin_qlora.errors import MissingFileError, UnknownNameError, UsageError
from fin_qlora.recipes import arguments, recipe_path
from fin_qlora.recipes.arguments import parse
from fin_qlora.training import FinSFTConfig


@pytest.fixture
def recipe(tmp_path):
    def write(text: str) -> list[str]:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return ["--config", str(path)]

    return write


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
        ("task: tfns\n", ["--optim", "zero_two_adam"], "zero_two_adam"),
        ("task: tfns\ntasks: [fpb]\n", [], "task is 'tfns', and tasks are fpb"),
        ("tasks: tfns\n", [], r"Write a list: \[tfns\]"),
        ("tasks: [tfns, fpb, tfns]\n", [], "name one twice"),
        ("task: tfns\nevaluation_rows: 0\n", [], "evaluation_rows is 0"),
        ("task: tfns\nenv: [A]\n", [], "'env' to no mapping"),
        ("task: tfns\n", ["--num_train_epochs", "many"], "many"),
        ("task: tfns\n", ["--form", "poem"], "poem"),
        ("task: tfns\n", ["-lr", "4"], "There is no flag '-lr'"),
        ("task: tfns\n", ["--seed", "1", "4"], "'4' belongs to no flag"),
        ("task: tfns\ndeepspeed: adamw_zero1_fp16\n", [], "Did you mean 'adamw_zero1_bf16'"),
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


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("deepspeed: adamw_zero1_bf16\n", []),
        ("", ["--deepspeed", "adamw_zero1_bf16"]),
        ("", ["--deepspeed=adamw_zero1_bf16"]),
    ],
)
def test_a_shipped_deepspeed_configuration_is_found_by_name(recipe, text, flags, monkeypatch):
    filled = []
    # the process group that DeepSpeed would start is of no interest here
    monkeypatch.setattr(SFTConfig, "__post_init__", lambda self: filled.append(self))
    monkeypatch.setattr(FinSFTConfig, "n_gpu", 1)
    monkeypatch.setattr(arguments, "refuse", lambda parts: None)
    parse([*recipe(f"task: tfns\n{text}"), *flags])
    assert filled[0].deepspeed["zero_optimization"]["stage"] == 1


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--hub_token", "hf_sesame"], "set HF_TOKEN"),
        (["--push_to_hub", "true"], "fin-qlora push"),
        (["--hub_model_id", "a/b"], "fin-qlora push"),
        (["--eval_strategy", "steps"], "does not take 'eval_strategy'"),
        (["--eval_on_start", "true"], "on every row"),
        (["--per_device_eval_batch_size", "4"], "evaluation_batch_size"),
        (["--dtype", "float32"], "bfloat16"),
        (["--trust_remote_code", "true"], "never run"),
    ],
)
def test_a_setting_that_would_not_be_followed_is_refused(recipe, flags, says):
    with pytest.raises(UsageError, match=says) as caught:
        parse([*recipe("task: tfns\n"), *flags])
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "quantization"),
    [
        ([], "none"),
        (["--load_in_8bit"], "8bit"),
        (["--load_in_4bit"], "4bit"),
        (["--load_in_4bit", "--bnb_4bit_quant_type", "fp4"], "4bit-fp4"),
        (["--load_in_4bit", "--use_bnb_nested_quant", "false"], "4bit-single"),
    ],
)
def test_how_the_base_is_quantised_is_followed(recipe, flags, quantization):
    _, _, base = parse([*recipe("task: tfns\n"), *flags])
    assert base.quantization == quantization


@pytest.mark.parametrize(
    ("text", "flags", "resumed"),
    [
        ("", [], None),
        ("resume_from_checkpoint: true\n", [], True),
        ("", ["--resume_from_checkpoint", "true"], True),
        ("", ["--resume_from_checkpoint", "runs/a/checkpoint-4"], "runs/a/checkpoint-4"),
    ],
)
def test_resuming_takes_a_folder_or_the_last_checkpoint(recipe, text, flags, resumed):
    _, training, _ = parse([*recipe(f"task: tfns\n{text}"), *flags])
    assert training.resume_from_checkpoint == resumed


def test_the_task_of_a_flag_takes_the_place_of_the_recipes(recipe):
    several, one = recipe("tasks: [tfns, fpb]\n"), "headline"
    assert parse(several)[0].task_names == ["tfns", "fpb"]
    assert parse([*several, "--task", one])[0].task_names == [one]
    assert parse([*recipe("task: tfns\n"), "--tasks", "ner", one])[0].task_names == ["ner", one]


def test_a_run_without_a_recipe_is_named_after_its_tasks():
    assert parse(["--tasks", "tfns", "fpb"])[1].output_dir == "runs/tfns-fpb"


def test_the_environment_of_a_recipe_is_set(recipe, monkeypatch):
    monkeypatch.delenv("FIN_QLORA_TEST", raising=False)
    monkeypatch.setenv("FIN_QLORA_TEST", "before")
    parse(recipe("task: tfns\nenv: {FIN_QLORA_TEST: 3}\n"))
    assert os.environ["FIN_QLORA_TEST"] == "3"


def test_the_global_batch_is_the_contract_and_accumulation_follows(recipe):
    text = "task: tfns\nglobal_batch_size: 64\nper_device_train_batch_size: 16\n"
    _, training, _ = parse(recipe(text))
    assert training.gradient_accumulation_steps == 4
    with pytest.raises(UsageError, match="60"):
        parse([*recipe(text), "--global_batch_size", "60"])


def test_weights_of_tasks_are_a_mapping_or_json(recipe):
    mapped = parse(recipe("task: tfns\ntask_weights: {tfns: 0.5}\n"))
    flagged = parse(["--task", "tfns", "--task_weights", '{"tfns": 0.5}'])
    assert mapped[1].task_weights == flagged[1].task_weights == {"tfns": 0.5}


def test_a_recipe_that_is_not_named_is_asked_for():
    with pytest.raises(UsageError, match="--config needs a recipe"):
        parse(["--config"])
    with pytest.raises(UsageError, match="--config is given twice"):
        parse(["--config", "classification/tfns-tiny-4bit-r4", "--config=xbrl/tiny-4bit-r4"])
