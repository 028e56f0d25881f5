"""`fin-qlora demo` goes the whole way: train, score, publish, load from the hub, predict."""

import json
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import pytest

from fin_qlora.evidence import check, read_manifest, verify_files

pytestmark = pytest.mark.smoke

TASKS = {"ner": "demo/ner-tiny-r4", "sentiment": "demo/sentiment-tiny-r4"}


def test_it_ends_well_and_prints_what_it_wrote(demo):
    assert demo.process.returncode == 0, demo.process.stderr[-4000:]
    assert json.loads(demo.process.stdout) == demo.summary
    check(demo.summary, schema="demo_summary", place="summary.json")


@pytest.mark.parametrize("task", TASKS)
def test_the_adapter_is_clearly_better_than_base_and_majority(demo, task):
    found = demo.summary["tasks"][task]
    assert found["n"] >= 200
    assert found["tuned"] >= max(found["majority"], found["base"]) + 0.10
    assert found["repo"] == TASKS[task]
    assert len(found["predictions"]) == 3


@pytest.mark.parametrize("task", TASKS)
def test_the_adapters_name_the_published_base_by_id_and_commit(demo, task):
    config = json.loads((demo.adapter(task) / "adapter_config.json").read_text())
    base = demo.summary["base"]
    assert base["repo"] == "demo/tiny-llama"
    assert config["base_model_name_or_path"] == base["repo"]
    assert config["revision"] == base["commit"]
    assert config["r"] == 4
    assert config["target_modules"] == sorted(config["target_modules"])


@pytest.mark.parametrize("task", TASKS)
def test_the_evidence_is_whole_and_the_figures_are_its(demo, task):
    folder, found = demo.adapter(task), demo.summary["tasks"][task]
    assert verify_files(folder) == []
    manifest = read_manifest(folder)
    (trained,) = manifest["tasks"]
    assert trained["synthetic"] is True
    assert manifest["configuration"]["quantization"] == "4bit"
    assert trained["evaluation"]["adapter"]["accuracy"] == found["tuned"]
    assert trained["evaluation"]["base"]["weighted_f1"] == found["base_f1"]


def test_recipes_really_run_under_accelerate_launch(demo):
    shown = [line for line in demo.process.stderr.splitlines() if "$ accelerate launch" in line]
    assert len(shown) == 2
    for line in shown:
        assert "-m fin_qlora.recipes.classification --config classification/demo-" in line
    assert demo.process.stderr.count("$ fin-qlora push") == 3


def test_nothing_of_it_stays_behind(demo):
    assert sorted(path.name for path in demo.directory.iterdir()) == [
        "ner",
        "sentiment",
        "summary.json",
    ]
    with pytest.raises(URLError):
        build_opener(ProxyHandler({})).open(demo.summary["hub"], timeout=5)
