"""What a run cost: on each process, in all, and over its parts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from fin_qlora.evidence.cost import NOTHING, ProcessCost, ProcessMeter, RunCost
from fin_qlora.evidence.energy import gpu_energy_joules

GIB = 2**30


def on_gpu(rank: int, *, reserved: int, energy: float | None = 100.0) -> ProcessCost:
    return ProcessCost(
        rank=rank,
        resident_peak_bytes=3 * GIB,
        allocated_peak_bytes=reserved - 1,
        reserved_peak_bytes=reserved,
        device_peak_bytes=reserved + 1,
        energy_joules=energy,
    )


def part(*processes: ProcessCost, seconds: float = 60.0) -> RunCost:
    return RunCost.of(processes, seconds=seconds, trained_tokens=10, seen_tokens=100)


def test_the_peaks_of_all_gpus_are_added_up_and_each_is_kept():
    cost = part(*(on_gpu(rank, reserved=5 * GIB + rank) for rank in range(4)))
    found = cost.to_dict(adapter_bytes=7, trainable=8)
    assert found["peak_memory_bytes"] == 20 * GIB + 6
    assert found["memory_kind"].endswith("added up over 4 processes")
    assert (found["gpus"], found["gpu_hours"]) == (4, round(240 / 3600, 6))
    assert [one["device_peak_bytes"] for one in found["processes"]] == [
        5 * GIB + rank + 1 for rank in range(4)
    ]
    assert found["energy_joules"] == 400.0
    assert (found["adapter_bytes"], found["trainable_parameters"]) == (7, 8)


def test_on_processors_it_is_the_resident_set_and_no_gpu():
    cost = part(ProcessCost(rank=0, resident_peak_bytes=GIB))
    found = cost.to_dict(adapter_bytes=0, trainable=0)
    assert (found["gpus"], found["gpu_hours"], found["energy_joules"]) == (0, 0.0, None)
    assert (found["peak_memory_bytes"], found["memory_kind"]) == (GIB, "resident set")


def test_energy_is_not_told_where_a_gpu_does_not_count_it():
    cost = part(on_gpu(0, reserved=GIB), on_gpu(1, reserved=GIB, energy=None))
    assert cost.energy_joules is None


def test_parts_of_a_run_add_up_also_on_another_number_of_gpus():
    first = part(on_gpu(0, reserved=9 * GIB), on_gpu(1, reserved=2 * GIB), seconds=100)
    stored = json.loads(json.dumps(first.as_json()))
    whole = part(on_gpu(0, reserved=4 * GIB)).and_before(RunCost.from_json(stored))
    assert (whole.seconds, whole.gpu_seconds, whole.gpus) == (160.0, 260.0, 2)
    assert (whole.trained_tokens, whole.seen_tokens) == (20, 200)
    assert [one.reserved_peak_bytes for one in whole.processes] == [9 * GIB, 2 * GIB]
    assert [one.energy_joules for one in whole.processes] == [200.0, 100.0]
    assert whole.known_from_the_start
    assert RunCost.from_json(stored) == first


def test_a_part_that_did_not_tell_is_remembered():
    lost = part(on_gpu(0, reserved=GIB)).and_before(None)
    assert not lost.known_from_the_start
    assert not part().and_before(lost).known_from_the_start
    assert part().and_before(NOTHING).known_from_the_start


def test_a_process_without_a_gpu_is_measured(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    meter = ProcessMeter()
    block = bytearray(64 * 2**20)
    cost = meter.cost(rank=3)
    assert cost.resident_peak_bytes > len(block)
    assert (cost.rank, cost.reserved_peak_bytes, cost.energy_joules) == (3, None, None)
    assert meter.seconds > 0


NVML = """
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    *device = (void *)0x7f0000001234;
    return strcmp(uuid, "GPU-1234") ? 6 : 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    if (device != (void *)0x7f0000001234) return 2;
    *millijoules = 6000000123456ULL;
    return 0;
}
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"), reason="needs a C compiler on Linux"
)
def test_energy_is_read_from_the_driver(tmp_path):
    """A library with NVML's own signatures: pointers and the 64-bit counter arrive whole."""
    source, library = tmp_path / "nvml.c", tmp_path / "libnvidia-ml.so.1"
    source.write_text(NVML)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    assert gpu_energy_joules("1234", library=str(library)) == 6000000123.456
    assert gpu_energy_joules("GPU-1234", library=str(library)) == 6000000123.456
    assert gpu_energy_joules("GPU-9", library=str(library)) is None
    assert gpu_energy_joules("1234", library=str(tmp_path / "none.so")) is None
