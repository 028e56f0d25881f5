"""A recipe takes from another what it does not say itself."""

from __future__ import annotations

import pytest

from fin_qlora.errors import MissingFileError, UnknownNameError, UsageError
from fin_qlora.recipes.families import classification_tasks, free_answer_tasks, module_of
from fin_qlora.recipes.settings import DEPTH, read_settings

TINY = "classification/tfns-tiny-4bit-r4"


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def test_what_a_recipe_says_wins_over_what_it_extends(write):
    write("first.yaml", "task: tfns\nlora_r: 4\nseed: 1\n")
    write("second.yaml", "extends: first.yaml\nlora_r: 8\nlora_alpha: 16\n")
    third = write("third.yaml", "extends: second.yaml\nseed: null\n")
    assert read_settings(third) == {"task": "tfns", "lora_r": 8, "lora_alpha": 16, "seed": None}


def test_a_shipped_recipe_and_a_shipped_part_can_be_extended(write):
    mine = read_settings(write("mine.yaml", f"extends: {TINY}\nseed: 3\n"))
    assert mine == {**read_settings(TINY), "seed": 3}
    part = read_settings(write("mine.yaml", "extends: parts/tiny-4bit-r4\ntask: fpb\n"))
    assert (part["task"], part["model_name_or_path"]) == ("fpb", "fin-qlora/tiny-llama")


@pytest.mark.parametrize(
    ("below", "above", "result"),
    [
        ("task: tfns", "tasks: [fpb, ner]", {"tasks": ["fpb", "ner"]}),
        ("tasks: [fpb, ner]", "task: tfns", {"task": "tfns"}),
        ("load_in_4bit: true", "load_in_8bit: true", {"load_in_8bit": True}),
        ("load_in_4bit: true", "load_in_4bit: false", {"load_in_4bit": False}),
        ("load_in_4bit: true", "lora_r: 8", {"load_in_4bit": True, "lora_r": 8}),
        (
            "load_in_4bit: true",
            "load_in_8bit: false",
            {"load_in_4bit": True, "load_in_8bit": False},
        ),
    ],
)
def test_who_chooses_otherwise_takes_the_other_choice_back(write, below, above, result):
    write("below.yaml", below)
    assert read_settings(write("above.yaml", f"extends: below.yaml\n{above}\n")) == result


def test_a_circle_is_named(write):
    write("b.yaml", "extends: c.yaml\n")
    write("c.yaml", "extends: a.yaml\n")
    first = write("a.yaml", "extends: b.yaml\n")
    with pytest.raises(UsageError, match=r"'a.yaml' -> 'b.yaml' -> 'c.yaml' -> 'a.yaml'"):
        read_settings(first)


def test_a_recipe_that_extends_itself_is_a_circle(write):
    with pytest.raises(UsageError, match="circle"):
        read_settings(write("a.yaml", "extends: a.yaml\n"))


def test_a_tower_of_recipes_has_an_end(write):
    top = write("0.yaml", "task: tfns\n")
    for floor in range(1, DEPTH):
        top = write(f"{floor}.yaml", f"extends: {floor - 1}.yaml\n")
    assert read_settings(top) == {"task": "tfns"}
    with pytest.raises(UsageError, match=f"behind {DEPTH} other"):
        read_settings(write("top.yaml", f"extends: {DEPTH - 1}.yaml\n"))


def test_an_unknown_name_is_told_the_nearest(write):
    with pytest.raises(UnknownNameError, match="Did you mean 'classification/tfns-tiny-4bit-r4'"):
        read_settings(write("a.yaml", "extends: classification/tfns-tiny-4bits-r4\n"))
    with pytest.raises(UnknownNameError, match="Did you mean 'parts/tiny-4bit-r4'"):
        read_settings(write("a.yaml", "extends: parts/tiny-4bit-r5\n"))
    with pytest.raises(MissingFileError, match=r"extends 'no.yaml'"):
        read_settings(write("a.yaml", "extends: no.yaml\n"))
    with pytest.raises(UsageError, match="extends 3"):
        read_settings(write("a.yaml", "extends: 3\n"))
    with pytest.raises(UnknownNameError):  # a part alone trains nothing
        read_settings("parts/tiny-4bit-r4")


@pytest.mark.parametrize(
    ("recipe", "flags", "module"),
    [
        (TINY, [], "classification"),
        ("xbrl/tiny-4bit-r4", [], "xbrl"),
        ("xbrl/tiny-4bit-r4", ["--seed", "3"], "xbrl"),
        (TINY, ["--task", "xbrl_tag"], "xbrl"),
        (TINY, ["--task=xbrl_tag"], "xbrl"),
        (TINY, ["--tasks", "tfns", "fpb", "--seed", "3"], "classification"),
        (TINY, ["--tasks", "tfns", "xbrl_tag"], "xbrl"),
    ],
)
def test_the_recipe_of_a_family_is_started(recipe, flags, module):
    assert module_of(recipe, flags) == f"fin_qlora.recipes.{module}"


@pytest.mark.parametrize(
    ("text", "module"),
    [
        ("task: tfns", "classification"),
        ("tasks: [tfns, fpb]", "classification"),
        ("tasks: [xbrl_tag, xbrl_value]", "xbrl"),
        ("extends: xbrl/tiny-4bit-r4", "xbrl"),
        ("extends: xbrl/tiny-4bit-r4\ntask: ner", "classification"),
        ("lora_r: 4", "classification"),  # which then says that no task is named
    ],
)
def test_ones_own_recipe_goes_by_its_tasks(write, text, module):
    assert module_of(write("mine.yaml", text + "\n")) == f"fin_qlora.recipes.{module}"


def test_tasks_of_the_other_family_are_told_where_to_go():
    assert [task.name for task in classification_tasks(["tfns", "ner"])] == ["tfns", "ner"]
    with pytest.raises(UsageError, match="'xbrl_tag' has no labels: its answer is a tag"):
        classification_tasks(["tfns", "xbrl_tag"])
    assert len(free_answer_tasks(["tfns", "xbrl_tag"])) == 2
    with pytest.raises(UsageError, match="answers of tfns, ner are labels"):
        free_answer_tasks(["tfns", "ner"])
