"""Recipes are listed, shown and copied."""

import json

import yaml

from fin_qlora.recipes.settings import read_settings

TFNS = "classification/tfns-tiny-4bit-r4"


def test_recipes_and_profiles_are_listed_with_what_they_are(fin_qlora):
    listed = json.loads(fin_qlora("recipes", "ls", "--format", "json").out)
    assert TFNS in {each["name"] for each in listed["recipes"]}
    assert "accelerate/single" in {each["name"] for each in listed["accelerate"]}
    assert all(each["about"] for family in listed.values() for each in family)
    assert TFNS in fin_qlora("recipes", "ls").out
    assert TFNS in fin_qlora("recipes", "ls", "--format", "quiet").out.splitlines()


def test_a_recipe_and_a_profile_are_shown_as_they_are(fin_qlora):
    assert yaml.safe_load(fin_qlora("recipes", "show", TFNS).out)["task"] == "tfns"
    shown = yaml.safe_load(fin_qlora("recipes", "show", "accelerate/single").out)
    assert shown["num_processes"] == 1


def test_a_recipe_is_shown_with_what_it_extends(fin_qlora, tmp_path):
    twin = "classification/fpb-8b-8bit-r8-adamw"
    shown = fin_qlora("recipes", "show", twin).out
    settings = yaml.safe_load(shown)
    assert shown.startswith("# Financial PhraseBank")
    assert "extends" not in settings
    assert (settings["task"], settings["lora_r"], settings["load_in_8bit"]) == ("fpb", 8, True)
    assert settings["optim"] == "adamw_torch_fused"
    # what is copied stands on its own, and means the same
    fin_qlora("recipes", "copy", twin, tmp_path / "mine.yaml")
    assert read_settings(tmp_path / "mine.yaml") == read_settings(twin) == settings


def test_what_recipes_extend_is_shown_and_copied(fin_qlora, tmp_path):
    part = "parts/paper-70b-4bit-r4"
    settings = yaml.safe_load(fin_qlora("recipes", "show", part).out)
    assert (settings["lora_r"], settings["per_device_train_batch_size"]) == (4, 4)
    assert fin_qlora("recipes", "copy", part, tmp_path / "mine.yaml").code == 0
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text()) == settings
    said = fin_qlora("recipes", "show", "parts/paper-70b-4bits-r4")
    assert said.code == 2
    assert part in said.err


def test_copying_never_replaces_unasked(fin_qlora, tmp_path):
    target = tmp_path / "mine.yaml"
    assert fin_qlora("recipes", "copy", TFNS, target).code == 0
    target.write_text("task: mine")
    said = fin_qlora("recipes", "copy", TFNS, target)
    assert (said.code, target.read_text()) == (2, "task: mine")
    assert "--force" in said.err
    said = fin_qlora("recipes", "copy", TFNS, target, "--force", "--format", "quiet")
    assert said.out.strip() == str(target)
    assert yaml.safe_load(target.read_text())["task"] == "tfns"


def test_copying_into_a_folder_keeps_the_name(fin_qlora, tmp_path):
    fin_qlora("recipes", "copy", TFNS, tmp_path)
    assert (tmp_path / "tfns-tiny-4bit-r4.yaml").is_file()
