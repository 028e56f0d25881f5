"""benchmarks/gpu.py runs to its end at toy size, and says what it did not measure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from gpu import Book, Reason, group, peak_of  # noqa: E402
from random_base import random_base  # noqa: E402
from report import Row  # noqa: E402

from fin_qlora.models.architecture import llama_31, skeleton  # noqa: E402
from fin_qlora.models.memory import weight_memory  # noqa: E402


def gpu(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_toy_run(tmp_path):
    file = tmp_path / "gpu.json"
    options = ("--toy", "--quick", "--json", file)
    done = gpu(*options, "--parts", "70b-4bit-r4", "--sides", "fin_qlora")
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    values = {(row["side"], row["figure"]): row["value"] for row in found["rows"]}
    name = "70b-4bit-r4, fin_qlora"
    assert found["name"] == "gpu-toy"
    unexplained = {group(Row(**row)) for row in found["rows"] if row["value"] is None}
    assert unexplained <= set(found["not_measured"])
    assert found["runs"][0]["measured"] == [f"{name}, long", f"{name}, short"]
    for kind in ("short", "long"):
        assert values[name, f"{kind}: steps measured"] == 3
        assert values[name, f"{kind}: examples"] > 0
        assert values[name, f"{kind}: peak memory, planned"] > 0

    # what is there stays when another part is measured, also one that fails in the middle
    done = gpu(*options, "--parts", "8b-4bit-r4", "--sides", "trl", "--budget_s", "-144")
    again = json.loads(file.read_text(encoding="utf-8"))
    assert done.returncode == 0, done.stderr
    assert [row for row in again["rows"] if row["side"] == name] == found["rows"]
    assert again["runs"] == found["runs"]
    other = {one: why for one, why in again["not_measured"].items() if not one.startswith(name)}
    assert list(other) == [
        f"8b-4bit-r4, trl (without liger kernels), {kind}" for kind in ("long", "short")
    ]


def test_a_toy_run_of_the_inference(tmp_path):
    file = tmp_path / "gpu.json"
    done = gpu("--toy", "--quick", "--json", file, "--parts", "inference")
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    values = {(row["side"], row["figure"]): row["value"] for row in found["rows"]}
    for side in ("bf16", "8bit", "4bit"):
        for kind in ("labels", "labels, prompts read whole", "written"):
            name = f"inference, 8b {side}"
            assert values[name, f"{kind}: rows"] > 0
            assert values[name, f"{kind}: time a row"] > 0
            assert f"{name}, {kind}: time a row: the paper's 0.1 s over it" in found["ratios"]
            if not torch.cuda.is_available():
                assert values[name, f"{kind}: peak memory"] is None
                assert found["not_measured"][f"{name}, {kind}"] == "no CUDA GPU on this machine"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure on")
def test_without_a_gpu_every_figure_is_null(tmp_path):
    file = tmp_path / "gpu.json"
    done = gpu("--json", file)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["rows"]
    assert {row["value"] for row in found["rows"]} == {None}
    assert set(found["not_measured"].values()) == {"no CUDA GPU on this machine"}


@pytest.mark.parametrize("quantization", ["4bit", "8bit", "none"])
def test_a_random_base_is_one_that_trains(quantization):
    config = llama_31(
        "8b", vocab_size=100, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=8, head_dim=8, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    device = torch.device("cpu")
    first, second = (
        random_base(config, quantization=quantization, device=device, seed=0) for _ in range(2)
    )
    ids = torch.arange(20)[None]
    with torch.no_grad():
        logits = first(input_ids=ids).logits
        assert torch.equal(logits, second(input_ids=ids).logits)
    assert logits.isfinite().all()
    assert logits.std() > 0
    assert not any(tensor.is_meta for tensor in (*first.parameters(), *first.buffers()))
    planned = weight_memory(skeleton(config, quantization=quantization), quantization)
    assert planned.layers == (0 if quantization == "none" else 14)


def test_what_was_measured_stays_until_it_is_measured_again(tmp_path):
    def rows(value):
        examples = Row("a side", "short: examples", "1/s", value)
        return [examples, Row("a side", "short: peak memory, planned", "GiB", 3.0)]

    path = tmp_path / "gpu.json"
    book = Book(path, name="gpu", commit="one")
    book.add(rows(None), [], otherwise="out of memory")
    assert book.report()["not_measured"] == {"a side, short": "out of memory"}
    assert book.report()["runs"] == []
    book.add(rows(2.0), [], otherwise="")
    path.write_text(json.dumps(book.report()))
    book = Book(path, name="gpu", commit="two")
    book.add(rows(None), [Reason("a side, short", "no time")], otherwise="")
    assert book.rows == rows(2.0)
    assert book.report()["not_measured"] == {}
    assert [one["commit"] for one in book.report()["runs"]] == ["one"]
    book.add(rows(4.0), [], otherwise="")
    assert book.rows == rows(4.0)
    assert [(one["commit"], one["measured"]) for one in book.report()["runs"]] == [
        ("two", ["a side, short"])
    ]


@pytest.mark.parametrize(
    ("device", "tflops"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA RTX 6000 Ada Generation", 364),
        ("NVIDIA L40S", 362),
        ("NVIDIA A10G", None),
    ],
)
def test_the_peak_is_that_of_the_card(device, tflops):
    assert peak_of(device) == (None if tflops is None else tflops * 1e12)
