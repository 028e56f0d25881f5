"""What `hf` of huggingface_hub 2.4 does on models and data sets, beyond upload and download."""

import json

import pytest


@pytest.fixture
def filled(running, repository, tmp_path) -> str:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"weights" * 200_000)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# An adapter\n")
    running.api().upload_folder(folder_path=folder, repo_id=repository)
    return repository


def test_models_and_the_cache(hf, filled) -> None:
    assert "# An adapter" in hf("models", "card", filled)
    assert "adapter_model.safetensors" in hf("models", "ls", filled, "-R")
    listed = json.loads(hf("repos", "ls", "--limit", "1000", "--format", "json"))
    assert filled in json.dumps(listed)
    hf("download", filled)
    assert filled in hf("cache", "ls")
    hf("cache", "verify", filled)
    hf("download", filled, "--dry-run")


def test_pull_requests(hf, filled, running, tmp_path) -> None:
    (tmp_path / "note.txt").write_text("a note")
    hf("upload", filled, str(tmp_path / "note.txt"), "note.txt", "--create-pr")
    assert "note.txt" not in running.api().list_repo_files(filled)
    assert json.loads(hf("discussions", "ls", filled, "--format", "json"))[0]["num"] == 1
    assert "1" in hf("discussions", "info", filled, "1")
    hf("discussions", "merge", filled, "1", "--yes")
    assert "note.txt" in running.api().list_repo_files(filled)


def test_moving_and_copying(hf, filled, running, new_name, tmp_path) -> None:
    target = new_name("desk")
    hf("repos", "move", filled, target)
    assert running.api().model_info(filled).id == target
    hf("repos", "tag", "create", target, "v1")
    assert "v1" in hf("repos", "tag", "ls", target)
    hf("repos", "branch", "create", target, "draft")
    hf("repos", "branch", "delete", target, "draft")
    hf("cp", f"hf://{target}/README.md", str(tmp_path / "card.md"))
    assert "# An adapter" in (tmp_path / "card.md").read_text()


def test_data_sets(hf, running, new_name, tmp_path) -> None:
    name = new_name()
    (tmp_path / "t.csv").write_text("a\n1\n")
    hf("repos", "create", name, "--type", "dataset")
    hf("upload", name, str(tmp_path / "t.csv"), "t.csv", "--type", "dataset")
    assert name in hf("datasets", "ls", "--author", "alice", "--format", "json")
    hf("download", name, "--type", "dataset", "--local-dir", str(tmp_path / "down"))
    assert (tmp_path / "down" / "t.csv").read_text() == "a\n1\n"


ROUND_TRIP = """
import sys
from datasets import Dataset, load_dataset
name = sys.argv[1]
rows = Dataset.from_dict({"text": [f"row {n}" for n in range(200)], "n": list(range(200))})
rows.push_to_hub(name, private=True)
back = load_dataset(name, split="train")
assert back.to_dict() == rows.to_dict()
assert load_dataset(name, revision="main", split="train[:10]")["n"][9] == 9
print(len(back))
"""


def test_a_data_set_there_and_back(running, new_name, run_python, tmp_path) -> None:
    name = new_name()
    done = run_python("-c", ROUND_TRIP, name, env=running.environment(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "200"
    files = running.api().list_repo_files(name, repo_type="dataset")
    assert any(file.endswith(".parquet") for file in files)
