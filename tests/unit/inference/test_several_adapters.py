"""Several adapters on one base: each row is answered by its own, as if that one were alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fin_qlora import load_adapter
from fin_qlora.errors import (
    AdapterMismatchError,
    ContractError,
    TruncatedAnswerError,
    UsageError,
)
from fin_qlora.evidence import write_manifest
from fin_qlora.inference.adapters import mixing
from fin_qlora.inference.adapters.asking import ask_by_route
from fin_qlora.inference.adapters.attached import attach_adapter
from fin_qlora.inference.adapters.folder import read_adapter
from fin_qlora.models.base import load_model
from fin_qlora.models.lora import WEIGHTS

MOODS = (("up", "1"), ("down", "0"), ("flat", "2"))
#: The adapters do not sit on the same layers.
MODULES = {
    "moods": ("q_proj", "v_proj"),
    "contrary": ("q_proj", "v_proj", "down_proj"),
    "tags": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
}
TAGS = {"cash": "us-gaap:Cash", "debt": "us-gaap:DebtCurrent"}


@pytest.fixture(scope="module")
def folders(run_on, decided_base, tmp_path_factory) -> dict[str, Path]:
    """Three adapters on one base: moods, moods the other way round, and tags."""
    found = {}
    for name, task, turn in (("moods", "tfns", 0), ("contrary", "tfns", 1), ("tags", "finer", 0)):
        work = tmp_path_factory.mktemp(name)
        (work / task).mkdir()
        if task == "tfns":
            labels = [MOODS[(n + turn) % 3][1] for n in range(3)]
            for file, start in (("sent_train", 0), ("sent_valid", 100)):
                lines = [
                    f"it went {word} {start + n},{label}"
                    for n in range(8)
                    for (word, _), label in zip(MOODS, labels, strict=True)
                ]
                content = "\n".join(["text,label", *lines]) + "\n"
                (work / task / f"{file}.csv").write_text(content, "utf-8")
        else:
            for file, start in (("train", 0), ("test", 100)):
                rows = [
                    {"text": f"{word} was {start + n} then", "entity": str(start + n), "label": tag}
                    for n in range(12)
                    for word, tag in TAGS.items()
                ]
                content = "".join(json.dumps(row) + "\n" for row in rows)
                (work / task / f"{file}.jsonl").write_text(content, "utf-8")
        run_on(
            task,
            data_dir=work,
            base=decided_base,
            steps=100 if name == "tags" else 40,
            learning_rate=5e-3,
            quantization="none",
            modules=MODULES[name],
        )
        found[name] = work / "adapter"
    return found


@pytest.fixture
def adapter(folders):
    loaded = load_adapter(folders["moods"])
    loaded.add(folders["contrary"], name="contrary")
    loaded.add(folders["tags"], name="tags")
    return loaded


TEXTS = [f"it went {word} {n}" + " indeed" * (n % 5) for n in range(7) for word, _ in MOODS]


def rows_of(*tasks: str) -> list[dict]:
    return [{"text": text, "task": tasks[n % len(tasks)]} for n, text in enumerate(TEXTS)]


def alone(folder: Path, texts: list[str]) -> list[dict[str, float]]:
    return load_adapter(folder).score(texts)


@pytest.mark.parametrize("batch_size", [4, 64])
def test_rows_are_answered_as_by_each_adapter_alone(adapter, folders, monkeypatch, batch_size):
    mixed = []
    real = mixing.Mixture.log_likelihoods
    monkeypatch.setattr(
        mixing.Mixture,
        "log_likelihoods",
        lambda self, **how: mixed.append(self) or real(self, **how),
    )
    rows = rows_of("tfns", "contrary/tfns")
    together = adapter.score(rows, batch_size=batch_size)
    # few rows share batches; where each adapter has whole batches of its own they do not
    assert bool(mixed) == (batch_size == 64)
    first = alone(folders["moods"], TEXTS[::2])
    second = alone(folders["contrary"], TEXTS[1::2])
    for found, expected in zip(together[::2] + together[1::2], first + second, strict=True):
        assert found == pytest.approx(expected, abs=0.1)
    labels = [max(found, key=found.get) for found in together]
    assert labels[::2] == [max(one, key=one.get) for one in first]
    assert labels[1::2] == [max(one, key=one.get) for one in second]
    assert labels[0] != alone_label(folders["contrary"], TEXTS[0])


def alone_label(folder: Path, text: str) -> str:
    (found,) = alone(folder, [text])
    return max(found, key=found.get)


def test_mixed_batches_are_exact_in_float32(adapter):
    adapter.model.float()
    rows = rows_of("tfns", "contrary/tfns")
    mixed = adapter.score(rows, batch_size=64)
    for start, task in enumerate(("tfns", "contrary/tfns")):
        apart = adapter.score(TEXTS[start::2], task=task, batch_size=64)
        for found, expected in zip(mixed[start::2], apart, strict=True):
            assert found == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_rows_are_mixed_on_a_quantised_base(folders, quantization):
    model = load_model(read_adapter(folders["moods"]).base_folder, quantization=quantization)
    two = []
    for name in ("moods", "contrary"):
        source = read_adapter(folders[name])
        how = {"quantization": quantization, "verify": False}
        two.append(attach_adapter(model, source, name=name, slot=name, **how))
        model = two[-1].model
    routes = [(two[n % 2], "tfns") for n in range(len(TEXTS))]
    assert mixing.Mixture.of(TEXTS, routes) is not None
    mixed = ask_by_route("score", TEXTS, routes, batch_size=64)
    for start in (0, 1):
        apart = ask_by_route("score", TEXTS[start::2], routes[start::2], batch_size=64)
        for found, expected in zip(mixed[start::2], apart, strict=True):
            assert found == pytest.approx(expected, abs=0.25)
            assert max(found, key=found.get) == max(expected, key=expected.get)


def test_rows_of_dora_are_asked_apart(adapter, monkeypatch):
    rows = rows_of("tfns", "contrary/tfns")
    expected = adapter.score(rows)
    routes = [
        (replace(one, mixes=one.slot == "default"), task)
        for one, task in adapter._routed(rows, None)
    ]
    monkeypatch.setattr(mixing.Mixture, "of", lambda *_: pytest.fail("PEFT cannot mix DoRA"))
    for found, mixed in zip(
        ask_by_route("score", rows, routes, batch_size=64), expected, strict=True
    ):
        assert found == pytest.approx(mixed, abs=0.1)


def as_dora(folder: Path, base: Path, out: Path) -> Path:
    """The same adapter as a DoRA: each row of a weight has the length that it has with B A."""
    shutil.copytree(folder, out)
    config = json.loads((out / "adapter_config.json").read_text("utf-8"))
    (out / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}), "utf-8")
    stored, weights = load_file(out / WEIGHTS), load_file(base / "model.safetensors")
    for name in [name for name in stored if name.endswith(".lora_A.weight")]:
        module = name.removesuffix(".lora_A.weight")
        weight = weights[module.removeprefix("base_model.model.") + ".weight"].float()
        product = stored[f"{module}.lora_B.weight"].float() @ stored[name].float()
        changed = weight + config["lora_alpha"] / config["r"] * product
        stored[f"{module}.lora_magnitude_vector"] = changed.norm(dim=1)
    save_file(stored, out / WEIGHTS, {"format": "pt"})
    write_manifest(out, json.loads((out / "manifest.json").read_text("utf-8")))
    return out


def test_a_dora_beside_others_answers_as_it_does_alone(adapter, folders, decided_base, tmp_path):
    rows = rows_of("tfns", "contrary/tfns")
    expected = adapter.score(rows)
    adapter.add(as_dora(folders["contrary"], decided_base, tmp_path / "dora"), name="dora")
    found = adapter.score(rows_of("tfns", "dora/tfns"))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=0.25)
        assert max(one, key=one.get) == max(other, key=other.get)


def test_what_cannot_be_mixed_is_asked_apart(adapter, folders, monkeypatch):
    rows = rows_of("tfns", "contrary/tfns")
    expected = adapter.score(rows)
    monkeypatch.setattr(mixing.Mixture, "of", lambda *_: None)
    for found, mixed in zip(adapter.score(rows), expected, strict=True):
        assert found == pytest.approx(mixed, abs=0.1)
    monkeypatch.undo()
    with pytest.raises(TruncatedAnswerError, match="Input 2 has"):
        adapter.score([rows[0], rows[1] | {"text": "up " * 600}])


def test_a_row_that_cannot_be_mixed_is_named(adapter):
    rows = rows_of("tfns", "contrary/tfns")
    with pytest.raises(ContractError, match=r"^Input 6: A row needs the fields"):
        adapter.score([*rows[:5], {"task": "contrary/tfns"}])
    rows[4] |= {"text": "up <s> down " + adapter.tokenizer.eos_token}
    with pytest.raises(ContractError, match=r"^Input 5: "):
        adapter.score(rows)


def test_free_answers_and_labels_keep_their_rows(adapter, folders):
    rows = [
        {"text": "debt was 207 then", "entity": "207", "task": "tags/finer"},
        {"text": "it went up 7", "task": "tfns"},
        {"text": "cash was 201 then", "entity": "201", "task": "tags/finer"},
        {"text": "it went up 7", "task": "contrary/tfns"},
    ]
    written = adapter.generate(rows)
    assert [written[0].text, written[2].text] == [TAGS["debt"], TAGS["cash"]]
    for place, name in ((1, "moods"), (3, "contrary")):
        assert load_adapter(folders[name]).generate(rows[place]["text"]) == [written[place]]


def test_the_base_is_in_memory_once(adapter):
    weights = [p for n, p in adapter.model.named_parameters() if "embed_tokens" in n]
    assert len(weights) == 1
    assert adapter.adapters == ("adapter", "contrary", "tags")
    assert list(adapter.tasks) == ["tfns", "contrary/tfns", "tags/finer"]
    assert not any(p.requires_grad for p in adapter.model.parameters())


def test_adding_changes_nothing_for_those_there(folders):
    loaded = load_adapter(folders["moods"])
    before = loaded.score(TEXTS)
    loaded.add(folders["contrary"], name="contrary")
    assert loaded.score(TEXTS, task="tfns") == before
    loaded.remove("contrary")
    assert loaded.score(TEXTS) == before
    assert loaded.task == "tfns"
    assert not [n for n, _ in loaded.model.named_parameters() if "added_" in n]
    loaded.add(folders["contrary"], name="contrary")  # and once more
    assert loaded.adapters == ("adapter", "contrary")


def test_the_active_adapter_is_that_of_the_task_named(adapter):
    adapter.activate("contrary/tfns")
    ids = torch.tensor([adapter.tokenizer("it went up")["input_ids"]])
    with torch.no_grad():
        second = adapter.model(input_ids=ids).logits
        adapter.activate("tfns")
        assert not torch.equal(adapter.model(input_ids=ids).logits, second)


def test_the_first_one_may_go(adapter):
    adapter.remove("adapter")
    assert list(adapter.tasks) == ["contrary/tfns", "tags/finer"]
    assert len(adapter.predict(TEXTS[:2], task="contrary/tfns")) == 2
    adapter.remove("tags")
    with pytest.raises(UsageError, match="only adapter"):
        adapter.remove("contrary")
    with pytest.raises(UsageError, match="no adapter on this base 'adapter'"):
        adapter.remove("adapter")


def test_tasks_of_one_name_need_a_name_for_the_adapter(folders, tmp_path):
    loaded = load_adapter(folders["moods"])
    other = shutil.copytree(folders["contrary"], tmp_path / "other")
    with pytest.raises(UsageError, match=r"'tfns' is another adapter's.*'NAME/tfns'"):
        loaded.add(other)
    with pytest.raises(UsageError, match="an adapter 'adapter' already"):
        loaded.add(folders["contrary"], name="adapter")
    assert loaded.adapters == ("adapter",)


def test_folders_of_one_name_are_called_by_all_of_it(folders):
    loaded = load_adapter(folders["moods"])
    loaded.add(folders["tags"])
    assert loaded.adapters == ("adapter", str(folders["tags"]))
    assert list(loaded.tasks) == ["tfns", "finer"]
    loaded.remove(str(folders["tags"]))
    assert loaded.adapters == ("adapter",)


def test_an_adapter_of_another_base_is_not_added(folders, run_on, small_base, tmp_path):
    loaded = load_adapter(folders["moods"])
    other = shutil.copytree(folders["tags"], tmp_path / "other")
    for name in ("fin_qlora.json", "manifest.json"):
        values = json.loads((other / name).read_text("utf-8"))
        values["base"]["digest"] = "0" * 64
        (other / name).write_text(json.dumps(values), "utf-8")
    write_manifest(other, json.loads((other / "manifest.json").read_text("utf-8")))
    with pytest.raises(AdapterMismatchError, match="another base"):
        loaded.add(other)


def test_an_adapter_of_another_quantisation_is_not_added(folders, tmp_path):
    loaded = load_adapter(folders["moods"])
    other = shutil.copytree(folders["tags"], tmp_path / "other")
    record = json.loads((other / "fin_qlora.json").read_text("utf-8"))
    (other / "fin_qlora.json").write_text(json.dumps(record | {"quantization": "8bit"}), "utf-8")
    write_manifest(other, json.loads((other / "manifest.json").read_text("utf-8")))
    with pytest.raises(AdapterMismatchError, match="'8bit', and this one is in 'none'"):
        loaded.add(other)


def lora_names(adapter) -> list[str]:
    return [name for name, _ in adapter.model.named_parameters() if "lora_" in name]


def test_a_refused_adapter_leaves_no_trace(folders, tmp_path):
    loaded = load_adapter(folders["moods"])
    before = loaded.score(TEXTS)
    names = lora_names(loaded)
    other = shutil.copytree(folders["contrary"], tmp_path / "other")
    stored = load_file(other / WEIGHTS)
    for make, match in (
        (lambda w: {k: -9 * v if "lora_B" in k else v for k, v in w.items()}, "does not answer"),
        (lambda w: {k: v for k, v in w.items() if "layers.1" not in k}, "missing"),
    ):
        save_file(make(stored), other / WEIGHTS, {"format": "pt"})
        write_manifest(other, json.loads((other / "manifest.json").read_text("utf-8")))
        with pytest.raises(AdapterMismatchError, match=match):
            loaded.add(other, name="other")
        assert lora_names(loaded) == names
    assert loaded.score(TEXTS) == before
