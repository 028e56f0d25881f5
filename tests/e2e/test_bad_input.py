"""What goes wrong is said in one sentence, with the manual's exit code, and leaves no trace."""

import errno
import json
import shutil

import pytest
import yaml

from fin_qlora.evidence import read_manifest, write_manifest
from fin_qlora.exits import run_guarded
from fin_qlora.files import shipped
from fin_qlora.models.tiny import tiny_base_path
from fin_qlora.publishing import push_base
from fin_qlora.recipes.classification import main as recipe

ROWS = "text,label\nGood news today,1\nBad news today,0\nPlain news today,2\n"


@pytest.fixture
def data(tmp_path):
    """A small, sound data folder of the task tfns."""
    folder = tmp_path / "data"
    (folder / "tfns").mkdir(parents=True)
    (folder / "tfns" / "sent_train.csv").write_text(ROWS)
    (folder / "tfns" / "sent_valid.csv").write_text(ROWS.replace("today", "tomorrow"))
    return folder


@pytest.fixture
def train(capfd, tmp_path):
    """Run the recipe in this process; return (exit code, its sentence, its output directory)."""

    def run(*arguments):
        out = tmp_path / "out"
        given = ["--task", "tfns", "--load_in_4bit", "true", "--output_dir", str(out)]
        capfd.readouterr()
        code = run_guarded(lambda: recipe([*given, *map(str, arguments)]))
        sentences = [x for x in capfd.readouterr().err.splitlines() if x.startswith("fin-qlora: ")]
        assert len(sentences) == bool(code)
        return code, "".join(sentences), out

    return run


def only_sentence(process):
    """Return the one line that a command said on stderr."""
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("fin-qlora: ")]
    assert "Traceback" not in process.stderr
    assert process.stdout == ""
    return line


def test_a_missing_file(train, data):
    (data / "tfns" / "sent_train.csv").unlink()
    code, sentence, out = train("--data_dir", data)
    assert code == 3
    assert "has no train file" in sentence
    assert not out.exists()


def test_a_wrong_label(train, data):
    with (data / "tfns" / "sent_train.csv").open("a") as stream:
        stream.write("More news,bullisch\n")
    code, sentence, out = train("--data_dir", data)
    assert code == 3
    assert "sent_train.csv, row 4 has the label 'bullisch'" in sentence
    assert "1 (positive)" in sentence
    assert not out.exists()


def test_an_empty_data_set(train, data):
    (data / "tfns" / "sent_valid.csv").write_text("text,label\n")
    code, sentence, out = train("--data_dir", data)
    assert code == 3
    assert "sent_valid.csv' has no usable row" in sentence
    assert not out.exists()


def test_a_typo_in_a_recipe_through_accelerate(fin_qlora, tmp_path):
    settings = yaml.safe_load(
        (shipped("recipes") / "classification/tfns-tiny-4bit-r4.yaml").read_text()
    )
    settings["learning_rte"] = 2e-3
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    process = fin_qlora("train", tmp_path / "mine.yaml", "--output-dir", tmp_path / "out")
    assert process.returncode == 2
    assert "sets 'learning_rte'" in only_sentence(process)
    assert "Did you mean 'learning_rate'?" in process.stderr
    assert not (tmp_path / "out").exists()


def test_a_full_disk(train, data, monkeypatch):
    def full(model, folder, **_):
        (folder / "adapter_model.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fin_qlora.training.result.adapter_folder.save_weights", full)
    code, sentence, out = train(
        "--data_dir", data, "--max_steps", 1, "--per_device_train_batch_size", 2
    )
    assert code == 4
    assert "disk is full" in sentence
    assert "Free some space" in sentence
    # no adapter, whole or half; what was trained waits in its checkpoint
    assert not [path for path in out.iterdir() if "adapter" in path.name]


def test_an_adapter_trained_on_another_base(demo, fin_qlora, tmp_path):
    other = shutil.copytree(tiny_base_path(), tmp_path / "other")
    with (other / "model.safetensors").open("r+b") as stream:
        stream.seek(-2, 2)
        stream.write(b"\x00\x00")
    folder = shutil.copytree(demo.adapter("ner"), tmp_path / "adapter")
    base = {"id": str(other), "revision": None}
    for name, change in (
        ("adapter_config.json", {"base_model_name_or_path": base["id"], "revision": None}),
        ("fin_qlora.json", {"base": base}),
    ):
        values = json.loads((folder / name).read_text())
        if "base" in change:
            change = {"base": values["base"] | base}
        (folder / name).write_text(json.dumps(values | change))
    manifest = read_manifest(folder)
    write_manifest(folder, manifest | {"base": manifest["base"] | base})
    process = fin_qlora("predict", folder, "A text")
    assert process.returncode == 3
    assert "trained on another base" in only_sentence(process)


def test_a_wrong_token_and_a_hub_that_is_down(demo, hub, fin_qlora, tmp_path):
    environment = hub.environment | {"HF_TOKEN": "hf_wrong"}
    process = fin_qlora("push", demo.adapter("ner"), "demo/x", env=environment)
    assert process.returncode == 5
    assert "Set HF_TOKEN" in only_sentence(process)

    environment = hub.environment | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    process = fin_qlora("pull", "demo/x", tmp_path / "out", env=environment)
    assert process.returncode == 5
    assert "No hub answers at http://127.0.0.1:9" in only_sentence(process)
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_on_a_base_that_the_hub_holds_under_another_commit(
    demo, hub, fin_qlora, monkeypatch
):
    for name in ("HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.setenv(name, hub.environment[name])
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    push_base(tiny_base_path(), "demo/tiny-llama")
    process = fin_qlora("push", demo.adapter("ner"), "demo/y", env=hub.environment)
    assert process.returncode == 5
    assert "is not on this hub" in only_sentence(process)
    process = fin_qlora(
        "push", demo.adapter("ner"), "demo/y", "--base", "demo/tiny-llama", env=hub.environment
    )
    assert process.returncode == 0, process.stderr
