"""A model in stages, one a process, answers as it does whole; what goes wrong ends them all."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from fin_qlora import tasks
from fin_qlora.evidence import write_record
from fin_qlora.models.base import load_model, weights_digest
from fin_qlora.models.checkpoint import stored_shapes
from fin_qlora.models.lora import WEIGHTS, save_weights

HERE = Path(__file__).resolve().parent
PROGRAM = str(HERE / "pipeline_processes.py")
TORCHRUN = str(Path(sys.executable).with_name("torchrun"))
LAYERS = 5


@pytest.fixture(scope="module")
def base(tmp_path_factory, tokenizer) -> Path:
    """A random Llama of five layers in many files, with a head that is sure of its words."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=512,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("base")
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    with torch.no_grad():
        model.lm_head.weight *= 16
    model.save_pretrained(folder, max_shard_size="250KB")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapters(base, tokenizer, tmp_path_factory) -> dict[str, Path]:
    """Adapters of three kinds, each trained for some steps."""
    kinds = {
        "lora": {},
        "rslora": {"use_rslora": True, "target_modules": ["down_proj"], "layers_to_transform": [4]},
        "dora": {"use_dora": True},
    }
    return {
        name: trained(base, tokenizer, tmp_path_factory.mktemp("adapters") / name, **settings)
        for name, settings in kinds.items()
    }


def trained(base: Path, tokenizer: Any, folder: Path, **settings: Any) -> Path:
    """Train a LoRA on one sentence and write its folder, with the record that names its base."""
    torch.manual_seed(1)
    lora = LoraConfig(
        **{"r": 4, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"]} | settings
    )
    lora.base_model_name_or_path, lora.revision = str(base), None
    model = get_peft_model(load_model(base, quantization="none"), lora)
    ids = torch.tensor([tokenizer("Shares rose. No change.")["input_ids"]])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-2)
    for _ in range(4):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.peft_config["default"].base_model_name_or_path = str(base)
    save_weights(model, folder)
    tokenizer.save_pretrained(folder)
    task = tasks.get("tfns")
    write_record(
        folder,
        {
            "schema": 1,
            "tasks": [
                {
                    "task": task.name,
                    "contract": task.contract().to_dict(),
                    "contract_digest": task.contract().digest,
                    "canaries": [],
                }
            ],
            "base": {"id": str(base), "revision": None, "digest": weights_digest(base)},
            "quantization": "none",
        },
    )
    return folder


def launched(folder: Path, cases: dict[str, dict[str, Any]], *, processes: int) -> dict[str, Any]:
    """Run the cases in processes; return what each rank found of each."""
    file = folder / "cases.json"
    file.write_text(json.dumps({name: {"stages": processes} | c for name, c in cases.items()}))
    done = subprocess.run(
        [
            *(TORCHRUN, "--nproc_per_node", str(processes), "--rdzv_backend", "c10d"),
            *("--rdzv_endpoint", "127.0.0.1:0", PROGRAM, str(folder), str(file)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return {
        name: [
            json.loads((folder / name / f"{rank}.json").read_text()) for rank in range(processes)
        ]
        for name in cases
    }


@pytest.fixture(scope="module")
def two(base, adapters, tmp_path_factory) -> dict[str, Any]:
    """What two processes found."""
    folder = tmp_path_factory.mktemp("two")
    torn, bare = folder / "torn", folder / "bare"
    shutil.copytree(adapters["lora"], torn)
    stored = load_file(torn / WEIGHTS)
    save_file({name: stored[name] for name in sorted(stored)[1:]}, torn / WEIGHTS)
    shutil.copytree(base, bare)
    gone = sorted(bare.glob("model-*.safetensors"))[2]
    gone.unlink()
    other = folder / "other"
    shutil.copytree(adapters["lora"], other)
    record = json.loads((other / "fin_qlora.json").read_text())
    record["base"]["digest"] = "0" * 64
    (other / "fin_qlora.json").write_text(json.dumps(record))
    cases: dict[str, dict[str, Any]] = {
        "base": {"reference": base, "precise": True},
        "base 16-bit": {"reference": base, "micro_batches": 1},
        "base 4-bit": {"reference": base, "quantization": "4bit", "micro_batches": 1},
        "base 8-bit": {"reference": base, "quantization": "8bit", "micro_batches": 1},
        **{name: {"reference": path, "precise": True} for name, path in adapters.items()},
        "micro-batches 4-bit": {"reference": adapters["lora"], "quantization": "4bit"},
        "three stages": {"reference": base, "stages": 3},
        "torn": {"reference": torn},
        "other base": {"reference": other},
        "a file is gone": {"reference": bare},
    }
    return launched(folder, as_text(cases), processes=2)


@pytest.fixture(scope="module")
def four(base, adapters, tmp_path_factory) -> dict[str, Any]:
    """What four processes found."""
    cases = {
        "base": {"reference": base, "precise": True},
        "micro-batches 4-bit": {"reference": adapters["lora"], "quantization": "4bit"},
    }
    return launched(tmp_path_factory.mktemp("four"), as_text(cases), processes=4)


def as_text(cases: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: case | {"reference": str(case["reference"])} for name, case in cases.items()}


def check_answers(ranks: list[dict[str, Any]], *, tolerance: float) -> None:
    whole = ranks[0]["whole"]
    for rank in ranks:
        assert rank["kept"] == list(range(11))
        for asked in ("scores", "one"):
            assert len(rank[asked]) == len(whole[asked])
            for one, other in zip(rank[asked], whole[asked], strict=True):
                assert one == pytest.approx(other, abs=tolerance)
                assert max(one, key=one.__getitem__) == max(other, key=other.__getitem__)
        if tolerance < 0.1:
            assert rank["written"] == whole["written"]
        for (one, _), (other, _) in zip(rank["written"], whole["written"], strict=True):
            assert one[:6] == other[:6]  # rounding may turn what is written later
    assert all(rank["scores"] == ranks[0]["scores"] for rank in ranks)


#: Batches that are not cut are read in the very passes of one process. Others have the rounding of
#: passes of other shapes.
TOLERANCES = {
    "base": 1e-3,
    "lora": 1e-3,
    "rslora": 1e-3,
    "dora": 1e-3,
    "base 16-bit": 0.0,
    "base 4-bit": 0.0,
    "base 8-bit": 0.0,
    "micro-batches 4-bit": 0.5,
}


@pytest.mark.parametrize("name", TOLERANCES)
def test_two_stages_answer_as_one_process(two, name):
    check_answers(two[name], tolerance=TOLERANCES[name])


@pytest.mark.parametrize("name", ["base", "micro-batches 4-bit"])
def test_four_stages_answer_as_one_process(four, name):
    check_answers(four[name], tolerance=TOLERANCES[name])


def test_an_adapter_answers_otherwise_than_its_base(two):
    for name in ("lora", "rslora", "dora"):
        assert two[name][0]["scores"] != two["base"][0]["scores"]


@pytest.mark.parametrize("processes", ["two", "four"])
def test_a_process_reads_the_tensors_of_its_own_layers_only(request, base, processes):
    ranks = request.getfixturevalue(processes)["base"]
    whole = sum(2 * torch.Size(shape).numel() for shape in stored_shapes(base).values())
    assert sum(rank["read"] for rank in ranks) == whole
    for rank, stage in zip(ranks, ranks[0]["report"]["stages"], strict=True):
        assert rank["read"] == stage["planned_bytes"] < 0.6 * whole


def test_memory_and_waiting_are_reported(two):
    report = two["base 4-bit"][0]["report"]
    for stage in report["stages"]:
        assert stage["weight_bytes"] == stage["planned_bytes"]
        assert stage["host_peak_bytes"] > 2**27
        assert stage["device_peak_bytes"] is None
        assert 0 < stage["busy_seconds"] < stage["seconds"]
    assert 0 < report["bubble"] < 1
    assert 0.5 <= report["largest_share"] < 0.6
    told = two["base 4-bit"][1]["told"]
    assert len(told) == 3
    assert told[0].startswith("stage 0: embeddings, layers 0-")
    assert "micro-batches of a batch: 1; idle for" in told[2]
    assert two["base 4-bit"][0]["after"] is None  # nothing was asked since
    assert two["lora"][0]["report"]["stages"][0]["adapter_bytes"] > 0


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("three stages", "UsageError", "torchrun --nproc_per_node 3 -m fin_qlora"),
        ("torn", "AdapterMismatchError", "1 missing"),
        ("other base", "AdapterMismatchError", "trained on another base"),
        ("a file is gone", "MissingFileError", "which its index names"),
    ],
)
def test_what_is_wrong_is_said_by_every_process(two, name, error, said):
    for rank in two[name]:
        assert rank["error"] == error
        assert said in rank["said"]


def test_a_process_that_dies_ends_the_others(tmp_path, base):
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"dies": {"reference": str(base), "stages": 2, "dies": True}}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # not by torchrun, which would end the others itself
    running = [
        subprocess.Popen(
            [sys.executable, PROGRAM, str(tmp_path), str(file)],
            env=os.environ
            | {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "LOCAL_WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
        )
        for rank in range(2)
    ]
    assert [one.wait(timeout=90) for one in running] == [0, 9]
    found = json.loads((tmp_path / "dies" / "0.json").read_text())
    assert found["error"] == "ProcessLostError"
    assert "Rank 1" in found["said"]
