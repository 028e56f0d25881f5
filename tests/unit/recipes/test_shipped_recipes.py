"""Every shipped recipe parses, and the paper's have the paper's numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from fin_qlora import tasks
from fin_qlora.files import shipped
from fin_qlora.recipes import recipe_names
from fin_qlora.recipes.arguments import parse
from fin_qlora.recipes.settings import read_settings

README = Path(__file__).parents[3] / "recipes" / "README.md"

#: The paper's sets (its section Datasets), as our catalogue names them.
SETS = ("fpb", "fiqa_sa", "tfns", "nwgi_three", "headline", "ner")

#: The paper's settings, from its section Implementation Details: base, bits, rank, and for each
#: kind of task rows a card, accumulation and epochs. It had four cards.
CARDS = 4
BASES = {
    "8b-4bit-r4": ("meta-llama/Llama-3.1-8B-Instruct", 4, 4),
    "8b-8bit-r8": ("meta-llama/Llama-3.1-8B-Instruct", 8, 8),
    "70b-4bit-r4": ("meta-llama/Llama-3.1-70B-Instruct", 4, 4),
}
CLASSIFICATION = {"8b-4bit-r4": (16, 1, 4), "8b-8bit-r8": (16, 1, 4), "70b-4bit-r4": (4, 4, 4)}
XBRL = {"8b-4bit-r4": (2, 2, 1), "8b-8bit-r8": (2, 2, 1)}

#: Recipe -> (its tasks, base, bits, rank, rows a card, accumulation, epochs).
PAPER = {
    **{
        f"classification/{name}-{variant}": ([name], *BASES[variant], *batch)
        for variant, batch in CLASSIFICATION.items()
        for name in SETS
    },
    **{
        f"classification/sentiment-{variant}": (list(SETS[:4]), *BASES[variant], *batch)
        for variant, batch in CLASSIFICATION.items()
    },
    **{
        f"xbrl/tags_values-{variant}": (["xbrl_tag", "xbrl_value"], *BASES[variant], *batch)
        for variant, batch in XBRL.items()
    },
}


#: Recipes that train; those that evaluate are test_evaluation_arguments.py's matter.
TRAINED = [name for name in recipe_names() if not name.startswith("evaluation/")]


@pytest.mark.parametrize("name", TRAINED)
def test_every_shipped_recipe_parses_and_names_tasks(name):
    alone = ["--zero_one_single_process", "adamw"]  # there is one process here
    run, training, base = parse(["--config", name, *alone])
    assert set(run.task_names) <= set(tasks.names())
    assert training.output_dir == f"runs/{name.split('/')[1]}"
    assert base.load_in_4bit != base.load_in_8bit
    assert ("4bit-r4" in name) == (base.load_in_4bit and base.lora_r == 4)
    assert ("8bit-r8" in name) == (base.load_in_8bit and base.lora_r == 8)
    given = training.per_device_train_batch_size * training.gradient_accumulation_steps
    assert given == (training.global_batch_size or given)


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize(("twin", "optimizer"), [("", "zero_one_adam"), ("-adamw", "adamw")])
def test_the_papers_numbers(name, twin, optimizer):
    named, base, bits, rank, rows, accumulated, epochs = PAPER[name]
    found = read_settings(name + twin)
    assert found.get("tasks", [found.get("task")]) == named
    assert found["model_name_or_path"] == base
    assert found.get(f"load_in_{bits}bit") is True
    assert (found["lora_r"], found["lora_alpha"], found["lora_dropout"]) == (rank, 32, 0.1)
    assert found["lora_target_modules"] == ["q_proj", "k_proj", "v_proj"]
    assert found["learning_rate"] == 1e-4
    assert (found["num_train_epochs"], found["per_device_train_batch_size"]) == (epochs, rows)
    assert found["global_batch_size"] == rows * accumulated * CARDS
    assert found["optim"].startswith(optimizer)


def test_there_is_a_recipe_for_every_row_and_a_twin_for_every_recipe():
    names = set(TRAINED)
    assert {*PAPER, *(f"{name}-adamw" for name in PAPER)} <= names
    for name in names:
        if name.endswith(("-adamw", "-sharded")):
            assert str(read_settings(name)["optim"]).startswith("adamw")
        else:
            assert ("tiny" in name) != (read_settings(name).get("optim") == "zero_one_adam")


def test_a_twin_differs_by_its_optimizer_alone():
    for name in PAPER:
        own, twin = read_settings(name), read_settings(f"{name}-adamw")
        assert {key for key in own if own[key] != twin[key]} == {"optim"}
        assert own.keys() == twin.keys()


def test_the_readme_tells_which_row_of_the_paper_each_is():
    rows = re.findall(r"^\| `(\w+/\S+)` \|(.+)\|$", README.read_text("utf-8"), re.MULTILINE)
    told = {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}
    assert told.keys() == PAPER.keys()
    for name, (named, base, bits, rank, rows_a_card, accumulated, epochs) in PAPER.items():
        assert told[name][1:] == [
            ", ".join(f"`{task}`" for task in named),
            base.split("-")[3],
            f"{bits}",
            f"{rank}",
            f"{rows_a_card} x {accumulated} x {CARDS}",
            f"{epochs}",
        ], name


WRITTEN = [path for path in shipped("recipes").rglob("*.yaml") if path.parent.name != "accelerate"]


@pytest.mark.parametrize("path", sorted(WRITTEN), ids=lambda path: path.stem)
def test_every_file_says_in_its_first_line_what_it_is(path):
    first = path.read_text("utf-8").partition("\n")[0]
    assert re.fullmatch(r"# .*\.", first)
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)
