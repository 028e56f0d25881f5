"""Every shipped accelerate profile is read by accelerate, and says what its name says."""

from __future__ import annotations

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType

from fin_qlora.files import shipped
from fin_qlora.training.optimizers.deepspeed import configuration

PROFILES = sorted((shipped("recipes") / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_accelerate_reads_it(path):
    found = load_config_from_file(str(path))
    kinds = {"fsdp": DistributedType.FSDP, "zero3": DistributedType.DEEPSPEED}
    named = next((kind for part, kind in kinds.items() if part in path.stem), None)
    if named is None:
        named = DistributedType.NO if path.stem == "single" else DistributedType.MULTI_GPU
    assert found.distributed_type == named
    assert found.use_cpu == path.stem.startswith("cpu")
    assert found.num_machines == (2 if "2-nodes" in path.stem else 1)
    if path.stem.startswith("gpu"):
        assert found.num_processes == 4 * found.num_machines


def test_the_sharing_profile_names_a_shipped_configuration():
    path = shipped("recipes") / "accelerate" / "gpu-zero3-4.yaml"
    given = load_config_from_file(str(path)).deepspeed_config["deepspeed_config_file"]
    assert configuration(given)["zero_optimization"]["stage"] == 3


def test_the_fsdp_profile_makes_a_plugin(monkeypatch):
    from accelerate.utils import FullyShardedDataParallelPlugin

    path = shipped("recipes") / "accelerate" / "gpu-fsdp-4.yaml"
    for key, value in load_config_from_file(str(path)).fsdp_config.items():
        monkeypatch.setenv(
            key.upper(), str(value).lower() if isinstance(value, bool) else value and str(value)
        )
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.cpu_ram_efficient_loading
