"""Results for a hub's leaderboards: only of whole published test sets, each with its file."""

from __future__ import annotations

import pytest
import yaml
from adapter_folder import base_identity, write_adapter
from huggingface_hub import parse_eval_result_entries

from fin_qlora.evidence import read_manifest
from fin_qlora.publishing.eval_results import eval_results_of, write_eval_results
from fin_qlora.tasks import get

DIGEST = "ab" * 32
ENTRY = {
    "task": "tfns",
    "answers": "likelihood",
    "rows": 2388,
    "scores": {"accuracy": 0.87654},
    "intervals": {"accuracy": {"cluster_bootstrap": {"low": 0.861, "high": 0.889}}},
    "overlong": [],
    "about": {
        "split": "test",
        "limit": None,
        "partial_file": False,
        "as_published": True,
        "quantization": "8bit",
        "shots": 0,
    },
    "file": {"path": "rows/tfns.parquet", "sha256": DIGEST},
}


def read(content):
    (entry,) = parse_eval_result_entries(yaml.safe_load(content))
    return entry


def write(folder, *, task="tfns", entry=ENTRY, **about):
    entry = entry | {"task": task, "about": entry["about"] | about}
    return write_eval_results(folder, entry, date="2026-11-20T09:00:00+00:00", task=get(task))


def test_an_evaluation_leaves_one_that_stock_clients_read(tmp_path):
    assert write(tmp_path)
    entry = read((tmp_path / ".eval_results" / "tfns.yaml").read_text("utf-8"))
    assert entry.dataset_id == "zeroshot/twitter-financial-news-sentiment"
    assert (entry.task_id, entry.value) == ("tfns", 0.8765)
    assert entry.date == "2026-11-20T09:00:00+00:00"
    assert entry.source_url is None
    assert entry.notes == (
        "accuracy; 95 % interval 0.8610 to 0.8890; n=2388; likelihood, quantization 8bit, 0 shots;"
        f" from rows/tfns.parquet (sha256 {DIGEST})"
    )


def test_rows_that_nobody_published_as_test_rows_are_told(tmp_path):
    assert write(tmp_path, task="fiqa_sa")
    entry = read((tmp_path / ".eval_results" / "fiqa_sa.yaml").read_text("utf-8"))
    assert entry.notes.endswith("drawn by fin-qlora (seed 0), for none were published")


def test_of_both_ways_of_answering_the_one_that_is_claimed_is_named(tmp_path):
    assert write(tmp_path, entry=ENTRY | {"answers": "both"})
    entry = read((tmp_path / ".eval_results" / "tfns.yaml").read_text("utf-8"))
    assert "; likelihood, quantization 8bit" in entry.notes


@pytest.mark.parametrize(
    "changes",
    [
        {"split": "train"},
        {"split": "validation"},
        {"limit": 10},
        {"partial_file": True},
        {"as_published": False},
        {"task": "synthetic_ner"},
        {"task": "xbrl_value"},  # its data is on no hub
        {"entry": ENTRY | {"overlong": [3]}},
    ],
)
def test_nothing_is_claimed_for_less_than_a_published_test_set(tmp_path, changes):
    task = changes.get("task", "tfns")
    path = tmp_path / ".eval_results" / f"{task}.yaml"
    path.parent.mkdir()
    path.write_text("- of an earlier run", "utf-8")
    assert not write(tmp_path, **changes)
    assert not path.exists()


@pytest.fixture
def manifest(tmp_path, base):
    identity = base_identity(base, name="demo/base", revision="c" * 40)
    folder = write_adapter(tmp_path / "three", base=identity, task="fiqa_sa", further=("tfns",))
    return read_manifest(folder)


def test_an_adapters_own_evaluation_is_claimed_task_by_task(manifest):
    found = eval_results_of(manifest, repo_id="demo/both", address="http://hub")
    assert list(found) == [".eval_results/fiqa_sa.yaml", ".eval_results/tfns.yaml"]
    entry = read(found[".eval_results/tfns.yaml"])
    file = "eval/tfns-adapter.parquet"
    assert (entry.task_id, entry.value) == ("tfns", 0.91)
    assert entry.source_url == f"http://hub/demo/both/blob/main/{file}"
    assert "0.8722 to 0.9374; n=300" in entry.notes
    assert f"{file} (sha256 {manifest['files'][file]})" in entry.notes


def test_rows_that_are_not_published_are_not_referred_to(manifest):
    kept = {name: sha for name, sha in manifest["files"].items() if "eval/" not in name}
    found = eval_results_of(manifest | {"files": kept}, repo_id="a/b", address="http://hub")
    entry = read(found[".eval_results/tfns.yaml"])
    assert entry.source_url is None
    assert "per-row results are not published" in entry.notes


def test_another_file_than_the_published_one_is_not_claimed(manifest):
    (file,) = [file for form in get("fiqa_sa").source.forms for file in form.files if file.sha256][
        :1
    ]
    other = {"path": file.path, "sha256": DIGEST, "rows": file.records or 1, "partial": False}
    tasks = [
        one | {"data": one["data"] | {"files": [other]}} if one["task"] == "fiqa_sa" else one
        for one in manifest["tasks"]
    ]
    found = eval_results_of(manifest | {"tasks": tasks}, repo_id="a/b", address=None)
    assert list(found) == [".eval_results/tfns.yaml"]
    other["sha256"] = file.sha256
    found = eval_results_of(manifest | {"tasks": tasks}, repo_id="a/b", address=None)
    assert len(found) == 2


def test_a_part_of_the_rows_is_not_claimed(manifest):
    few = manifest | {"configuration": manifest["configuration"] | {"evaluation_rows": 20}}
    assert eval_results_of(few, repo_id="a/b", address=None) == {}
    tasks = [one | {"synthetic": True} for one in manifest["tasks"]]
    assert eval_results_of(manifest | {"tasks": tasks}, repo_id="a/b", address=None) == {}
