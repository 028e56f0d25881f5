"""docs/training.md names every key of ours and every recipe it names exists."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from trl import SFTConfig

from fin_qlora import FinSFTConfig, errors
from fin_qlora.recipes import recipe_names
from fin_qlora.recipes.arguments import RunArguments
from fin_qlora.recipes.catalogue import accelerate_profiles

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text("utf-8")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(title: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", section(title), re.MULTILINE)


def test_every_key_of_ours_is_told_and_no_other():
    theirs = {one.name for one in fields(SFTConfig)}
    ours = {one.name for one in fields(RunArguments)}
    ours |= {one.name for one in fields(FinSFTConfig)} - theirs
    assert sorted(first_cells("Recipe keys")) == sorted({"extends", *ours})


def test_every_exit_code_is_told():
    told = set(map(int, re.findall(r"^\| (\d+) \|", section("Exit codes"), re.MULTILINE)))
    kinds = [one for one in vars(errors).values() if hasattr(one, "exit_code")]
    assert told == {0, 130} | {one.exit_code for one in kinds}


@pytest.mark.parametrize("page", ["docs/training.md", "README.md", "recipes/README.md"])
def test_every_recipe_and_profile_that_is_named_exists(page):
    text = (ROOT / page).read_text("utf-8")
    named = set(re.findall(r"\b((?:classification|xbrl)/[a-z_]+-[\w-]*\w)", text))
    assert named
    assert named <= set(recipe_names())
    profiles = set(re.findall(r"--accelerate ([a-z][\w-]+)", text))
    assert profiles <= set(accelerate_profiles())
