"""What is refused when an adapter is loaded, each thing by its own error; and where it is read."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fin_qlora import load_adapter
from fin_qlora.errors import (
    AdapterMismatchError,
    ContractError,
    DataError,
    MissingFileError,
    NotFiniteError,
    RemoteCodeError,
    TruncatedAnswerError,
    UnknownNameError,
    UsageError,
)
from fin_qlora.evidence import write_manifest
from fin_qlora.inference.adapters import folder as adapter_folder
from fin_qlora.inference.adapters import loading
from fin_qlora.inference.adapters.folder import read_adapter
from fin_qlora.inference.calibration import Calibration
from fin_qlora.models.lora import WEIGHTS

ROWS = (("up", "1"), ("down", "0"), ("flat", "2"))
COMMIT = "c0ffee" * 6 + "cafe"


@pytest.fixture(scope="module")
def trained(run_on, small_base, tmp_path_factory) -> Path:
    """An adapter of a few steps, on the base as it is."""
    work = tmp_path_factory.mktemp("run")
    (work / "tfns").mkdir()
    for name, start in (("sent_train", 0), ("sent_valid", 50)):
        lines = [f"it went {word} {start + n},{raw}" for n in range(4) for word, raw in ROWS]
        (work / "tfns" / f"{name}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    run_on("tfns", data_dir=work, quantization="none")
    return work / "adapter"


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    return shutil.copytree(trained, tmp_path / "adapter")


@pytest.fixture(scope="module")
def adapter(trained):
    return load_adapter(trained)


def change(path: Path, **values) -> None:
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(content | values), "utf-8")


def sign(folder: Path) -> None:
    write_manifest(folder, json.loads((folder / "manifest.json").read_text("utf-8")))


def reweigh(folder: Path, make) -> None:
    save_file(make(load_file(folder / WEIGHTS)), folder / WEIGHTS, {"format": "pt"})
    sign(folder)


def first(weights: dict, part: str) -> str:
    return next(name for name in sorted(weights) if part in name)


def spoiled(value):
    def make(weights):
        weights[first(weights, "lora_A")][0, 0] = value
        return weights

    return make


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("verify", [True, False])
def test_a_weight_that_is_no_number(folder, value, verify):
    reweigh(folder, spoiled(value))
    with pytest.raises(NotFiniteError, match=r"lora_A.* holds NaN or an infinity"):
        load_adapter(folder, verify=verify)


def test_a_tensor_too_many(folder):
    name = "base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"
    reweigh(folder, lambda weights: weights | {name: weights[first(weights, "lora_A")].clone()})
    with pytest.raises(AdapterMismatchError, match=r"1 too many \('.*layers\.9"):
        load_adapter(folder)


def test_a_tensor_of_another_shape(folder):
    reweigh(folder, lambda w: w | {first(w, "lora_A"): torch.ones(3, 64).bfloat16()})
    with pytest.raises(
        AdapterMismatchError, match=r"another shape .* is \(3, 64\) and not \(4, 64\)"
    ):
        load_adapter(folder)


def test_a_tensor_of_few_bits(folder):
    reweigh(folder, lambda w: w | {first(w, "lora_A"): torch.ones(4, 64, dtype=torch.uint8)})
    with pytest.raises(AdapterMismatchError, match=r"of type torch\.uint8"):
        load_adapter(folder)


def test_a_damaged_file(folder):
    (folder / WEIGHTS).write_bytes(b"not safetensors")
    with pytest.raises(AdapterMismatchError, match="has changed since training"):
        load_adapter(folder)
    with pytest.raises(AdapterMismatchError, match="cannot be read as safetensors"):
        load_adapter(folder, verify=False)


def test_weights_in_pickle_form_are_never_opened(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Trap()))
    sign(folder)
    with pytest.raises(MissingFileError, match="pickle form are not read"):
        load_adapter(folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("verify", [True, False])
def test_settings_that_are_not_those_of_the_tensors(folder, verify):
    change(folder / "adapter_config.json", target_modules=["q_proj"])
    sign(folder)
    with pytest.raises(AdapterMismatchError, match=r"too many|other target_modules"):
        load_adapter(folder, verify=verify)
    change(folder / "adapter_config.json", target_modules=["nothing"])
    sign(folder)
    with pytest.raises(AdapterMismatchError, match="does not fit this base"):
        load_adapter(folder, verify=verify)


def test_settings_that_are_not_those_of_training(folder):
    path = folder / "manifest.json"
    modules = ["q_proj", "v_proj"]
    settings = {
        "quantization": "none",
        "lora_r": 4,
        "lora_alpha": 32,
        "lora_target_modules": modules,
    }
    change(path, configuration=settings)
    load_adapter(folder)
    change(path, configuration=settings | {"lora_alpha": 16})
    with pytest.raises(AdapterMismatchError, match="lora_alpha=32, but training had lora_alpha=16"):
        load_adapter(folder)
    change(path, configuration=settings | {"lora_target_modules": ["q_proj"]})
    with pytest.raises(AdapterMismatchError, match="other target_modules than training"):
        load_adapter(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"peft_type": "IA3"},
        {"modules_to_save": ["lm_head"]},
        {"init_lora_weights": "pissa_niter_4"},
        {"bias": "all"},
        {"alora_invocation_tokens": [5, 6]},
        {"target_parameters": ["experts.down_proj"]},
        {"kasa_config": {}},
    ],
)
def test_what_is_not_a_lora_alone(folder, values):
    change(folder / "adapter_config.json", **values)
    with pytest.raises(AdapterMismatchError, match=next(iter(values))):
        load_adapter(folder, verify=False)


def test_code_of_an_adapter_is_not_run(folder):
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.Tokenizer", None]})
    sign(folder)
    with pytest.raises(RemoteCodeError, match=r"'auto_map' in tokenizer_config\.json"):
        load_adapter(folder)
    shutil.copyfile(folder / "fin_qlora.json", folder / "tokenizer_config.json")
    change(folder / "adapter_config.json", megatron_config={"a": 1}, megatron_core="mine")
    with pytest.raises(RemoteCodeError, match="imports the module 'mine'"):
        load_adapter(folder, verify=False)


def test_code_of_a_base_is_not_run(folder, small_base, tmp_path):
    base = shutil.copytree(small_base, tmp_path / "base")
    (base / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    change(base / "config.json", auto_map={"AutoModelForCausalLM": "mine.Model"})
    with pytest.raises(RemoteCodeError, match=r"'auto_map' in config\.json"):
        load_adapter(folder, base=base)
    assert not (tmp_path / "ran").exists()


def test_another_revision_of_the_base_is_another_base(folder, small_base, tmp_path, monkeypatch):
    base = shutil.copytree(small_base, tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    weights[first(weights, "lm_head")][0, 0] += 1
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(AdapterMismatchError, match=r"at revision None with digest \w{12}, but"):
        load_adapter(folder, base=base)


def test_an_adapter_of_another_task(adapter):
    with pytest.raises(UnknownNameError, match="no task of this adapter 'headline'"):
        adapter.predict(["it went up"], task="headline")
    with pytest.raises(UnknownNameError, match="'fpb'"):
        adapter.predict([{"text": "it went up", "task": "fpb"}])


@pytest.mark.parametrize(("given", "used"), [(4, "4bit"), (8, "8bit"), ("none", "none")])
def test_bits_say_which_quantisation(folder, given, used):
    assert load_adapter(folder, quantization=given).quantization == used


@pytest.mark.parametrize("given", [5, True, "five", None])
def test_other_quantisations_do_not_exist(folder, given):
    with pytest.raises(UnknownNameError, match="no quantization"):
        load_adapter(folder, quantization=given)


def test_a_device_map_goes_to_the_base(folder, monkeypatch):
    given = []
    real = loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda *a, **o: given.append(o) or real(*a, **o))
    placed = load_adapter(folder, device_map={"": "cpu"})
    assert placed.predict("it went up 7") == load_adapter(folder).predict("it went up 7")
    assert [one.get("device_map") for one in given] == [{"": "cpu"}, None]


def test_the_full_check_replays_all_canaries_and_the_base(folder):
    load_adapter(folder, verify="full")
    path = folder / "fin_qlora.json"
    record = json.loads(path.read_text("utf-8"))
    canaries = record["tasks"][0]["canaries"]
    assert len(canaries) == 8
    kept = dict(canaries[0]["base_scores"])
    canaries[0]["base_scores"] = dict.fromkeys(kept, 0.0)
    path.write_text(json.dumps(record), "utf-8")
    sign(folder)
    load_adapter(folder)  # which does not ask the base
    with pytest.raises(AdapterMismatchError, match=r"The base of '.*' does not answer as it did"):
        load_adapter(folder, verify="full")
    canaries[0]["base_scores"] = kept
    last = canaries[-1]["adapter_scores"]
    last[max(last, key=last.get)] = 0.0
    path.write_text(json.dumps(record), "utf-8")
    sign(folder)
    load_adapter(folder)  # which asks the first one alone
    with pytest.raises(AdapterMismatchError, match="does not answer as it did"):
        load_adapter(folder, verify="full")
    with pytest.raises(UsageError, match="hold for a base in 'none'"):
        load_adapter(folder, verify="full", quantization=4)


def test_a_canary_without_numbers_is_refused(folder):
    path = folder / "fin_qlora.json"
    record = json.loads(path.read_text("utf-8"))
    scores = record["tasks"][0]["canaries"][0]["adapter_scores"]
    scores[list(scores)[-1]] = float("nan")
    path.write_text(json.dumps(record), "utf-8")
    sign(folder)
    with pytest.raises(AdapterMismatchError, match="off by nan"):
        load_adapter(folder)


def test_the_full_check_reads_the_base_again(folder, monkeypatch):
    asked = []
    real = adapter_folder.locate_base
    monkeypatch.setattr(
        adapter_folder, "locate_base", lambda *a, **o: asked.append(o["again"]) or real(*a, **o)
    )
    for verify in (True, "full", False):
        read_adapter(folder, verify=verify)
    assert asked == [False, True, False]


def test_rows_that_cannot_be_asked(adapter):
    with pytest.raises(
        ContractError, match=r"^Input 1: .* the fields \['text'\] but has \['txt'\]"
    ):
        adapter.predict([{"txt": "it went up"}])
    with pytest.raises(ContractError, match=r"^Input 2: A text is empty"):
        adapter.predict(["it went up", ""])
    with pytest.raises(ContractError, match=r"^Input 9: A text is empty"):
        list(adapter.stream(["it went up"] * 8 + ["", ""], batch_size=2))
    with pytest.raises(ContractError, match=r"^Input 3: A text is empty"):
        adapter.generate(["up", "up", ""])
    rows = ["up " * n for n in (1, 2, 600, 3)]
    with pytest.raises(TruncatedAnswerError, match="Input 3 has"):
        adapter.predict(rows)


def test_what_is_streamed_comes_early_and_in_order(adapter):
    read = []

    def endless():
        number = 0
        while True:
            read.append(number)
            yield f"it went up {number}" + " indeed" * (number * 7 % 5)
            number += 1

    answers = adapter.stream(endless(), batch_size=4)
    found = [next(answers)]
    assert len(read) == 4  # no more than a batch was waited for
    found += [next(answers) for _ in range(39)]
    assert len(read) <= 4 + 2 * 32
    texts = [f"it went up {n}" + " indeed" * (n * 7 % 5) for n in range(40)]
    expected = adapter.predict(texts)
    assert [one.label for one in found] == [one.label for one in expected]
    for one, two in zip(found, expected, strict=True):
        assert one.scores == pytest.approx(two.scores, abs=0.03)


def test_rows_before_one_that_fails_are_streamed(adapter):
    rows = [f"up {n}" for n in range(5)] + ["up " * 600] + ["up"]
    found = []
    with pytest.raises(TruncatedAnswerError, match="Input 6 has"):
        found.extend(one.label for one in adapter.stream(iter(rows), batch_size=2))
    assert found == [one.label for one in adapter.predict(rows[:2])]


def test_memory_that_ends_half_way_keeps_what_is_done(adapter, monkeypatch):
    from fin_qlora.errors import MemoryShortError
    from fin_qlora.inference.reading.whole import Whole

    real = Whole.totals

    def short(self, batches, **how):
        for number, totals in enumerate(real(self, batches, **how)):
            if number == 2:
                raise torch.OutOfMemoryError("out of memory")
            yield totals

    rows = [f"up {n}" for n in range(20)]
    expected = [one.label for one in adapter.predict(rows)]
    monkeypatch.setattr(Whole, "totals", short)
    answers = adapter.stream(rows, batch_size=4)
    found = []
    with pytest.raises(MemoryShortError, match="4 rows"):
        found.extend(one.label for one in answers)
    assert 4 <= len(found) < 20
    assert found == expected[: len(found)]


def test_labels_that_are_not_probable_enough_are_not_given(adapter):
    (sure,) = adapter.predict("it went up 7")
    (unsure,) = adapter.predict("it went up 7", abstain_below=sure.score + 1e-6)
    assert (unsure.label, unsure.scores) == (None, sure.scores)
    (given,) = adapter.predict("it went up 7", abstain_below=sure.score)
    assert given == sure
    with pytest.raises(UsageError, match="abstain_below is 7"):
        adapter.predict("it went up 7", abstain_below=7)
    with pytest.raises(UsageError, match="abstain_below is 7"):
        next(adapter.stream("it went up 7", abstain_below=7))


def test_what_was_fitted_makes_the_probabilities(adapter):
    (plain,) = adapter.predict("it went up 7")
    soft = Calibration(temperature=4.0, rows=20, before=1.0, after=0.9)
    adapter.calibrate(soft, task="tfns")
    try:
        (calibrated,) = adapter.predict("it went up 7")
        assert calibrated.scores == soft.probabilities(adapter.score("it went up 7")[0])
        assert calibrated.score < plain.score
        assert next(adapter.stream("it went up 7")) == calibrated
    finally:
        adapter.calibrate(None)
    assert adapter.predict("it went up 7") == [plain]


def test_what_was_fitted_travels_with_the_adapter(folder):
    (plain,) = load_adapter(folder).predict("it went up 7")
    soft = Calibration(temperature=4.0, bias={"neutral": 0.5}, rows=20, before=1.0, after=0.9)
    path = folder / "fin_qlora.json"
    record = json.loads(path.read_text("utf-8"))
    record["tasks"][0]["calibration"] = soft.to_dict()
    path.write_text(json.dumps(record), "utf-8")
    sign(folder)
    loaded = load_adapter(folder, verify="full")  # canaries are not calibrated
    (found,) = loaded.predict("it went up 7")
    assert found.scores == soft.probabilities(loaded.score("it went up 7")[0]) != plain.scores
    record["tasks"][0]["calibration"]["temperature"] = 0
    path.write_text(json.dumps(record), "utf-8")
    sign(folder)
    with pytest.raises(DataError, match="calibration"):
        load_adapter(folder)


def in_cache(home: Path, name: str, content: Path) -> None:
    """Lay a folder into the hub's cache as a download leaves it."""
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copytree(content, repository / "snapshots" / COMMIT)


def test_it_works_offline_from_a_warm_cache(folder, small_base, tmp_path, dials):
    for name in ("fin_qlora.json", "manifest.json"):
        values = json.loads((folder / name).read_text("utf-8"))
        values["base"] |= {"id": "desk/base", "revision": COMMIT}
        (folder / name).write_text(json.dumps(values), "utf-8")
    change(folder / "adapter_config.json", base_model_name_or_path="desk/base", revision=COMMIT)
    sign(folder)
    home = tmp_path / "home"
    in_cache(home, "desk/base", small_base)
    in_cache(home, "desk/moods", folder)
    program = (
        "from fin_qlora import load_adapter\n"
        "one = load_adapter('desk/moods', revision='main', verify='full')\n"
        "one.add('desk/moods', name='again')\n"
        "one.predict(['up'], task='tfns')\n"
        "print(one.revision, one.base.revision, *one.tasks)"
    )
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [COMMIT, COMMIT, "tfns", "again/tfns"]
    assert dials.attempts() == []


def test_the_embedded_base_is_told_to_be_no_adapter():
    with pytest.raises(AdapterMismatchError, match="is a base model and no adapter"):
        read_adapter("fin-qlora/tiny-llama")
