"""A data set on the hub is prepared through HF_ENDPOINT, and the commit is written down."""

import json

import yaml


def task(name):
    return {
        "name": "notes",
        "labels": [{"name": "up", "meaning": "it rises"}, {"name": "down", "meaning": "it falls"}],
        "instruction": "Up or down?",
        "columns": {"text": "note", "label": "view"},
        "hub": {"id": name, "parts": {"train": "train", "test": "test"}},
        "licence": {"name": "internal"},
    }


def test_a_private_data_set_is_prepared_and_its_commit_named(
    running, new_name, run_python, tmp_path
):
    api, name = running.api(), new_name("desk")
    api.create_repo(name, repo_type="dataset", private=True)
    for split, count in (("train", 8), ("test", 2)):
        lines = "".join(f"{split} note {i},{('up', 'down')[i % 2]}\n" for i in range(count))
        api.upload_file(
            path_or_fileobj=f"note,view\n{lines}".encode(),
            path_in_repo=f"{split}.csv",
            repo_id=name,
            repo_type="dataset",
        )
    (tmp_path / "notes.yaml").write_text(yaml.safe_dump(task(name)), "utf-8")

    def prepare(caller):
        return run_python(
            "-m", "fin_qlora.cli", "data", "prepare", str(tmp_path / "notes.yaml"), "--from-hub",
            "--out", str(tmp_path / "out"), "--format", "json",
            env=running.environment(tmp_path / caller, caller),
        )  # fmt: skip

    refused = prepare("carol")
    assert refused.returncode == 5, refused.stderr
    assert f"'{name}' is not on the hub" in refused.stderr
    done = prepare("bob")
    assert done.returncode == 0, done.stderr
    (prepared,) = json.loads(done.stdout)["prepared"]
    commit = api.dataset_info(name).sha
    assert prepared["splits"]["train"]["rows"] == 8
    assert prepared["splits"]["test"]["sources"][0]["path"] == f"{name}@{commit}/test"
    (again,) = json.loads(prepare("bob").stdout)["prepared"]
    assert again["fresh"] is False
