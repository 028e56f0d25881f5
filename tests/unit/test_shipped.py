"""The data folders hold data only, every file can be read, and the package finds them."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from fin_qlora import files

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {"recipes": ".yaml", "ds_configs": ".json", "schemas": ".json"}


def each(kind):
    paths = sorted((ROOT / kind).rglob(f"*{SUFFIXES[kind]}"))
    return pytest.mark.parametrize(
        "path", paths, ids=[path.relative_to(ROOT / kind).as_posix() for path in paths]
    )


@pytest.mark.parametrize("kind", SUFFIXES)
def test_the_folder_is_found_and_holds_data_only(kind):
    folder = files.shipped(kind)
    # an editable install and a plain checkout read the very files that are edited
    assert folder == ROOT / kind
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    assert names
    assert {Path(name).suffix for name in names} <= {SUFFIXES[kind], ".md"}


@each("recipes")
def test_a_recipe_is_a_flat_mapping_without_surprises(path):
    recipe = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(recipe, dict)
    # YAML 1.1 reads a bare `no` as false: `save_strategy: no` would not be what it says
    for key in (
        "save_strategy",
        "eval_strategy",
        "logging_strategy",
        "report_to",
        "mixed_precision",
    ):
        assert not isinstance(recipe.get(key), bool), f"quote the value of {key}"


@each("ds_configs")
def test_a_deepspeed_configuration_is_what_its_name_says(path):
    configuration = json.loads(path.read_text("utf-8"))
    precision = path.stem.rpartition("_")[2]
    assert configuration[precision] == {"enabled": True}
    assert len({"bf16", "fp16"} & configuration.keys()) == 1
    stage, kind = configuration["zero_optimization"]["stage"], configuration["optimizer"]["type"]
    if kind == "ZeroOneAdam":
        assert path.stem == f"zero_one_adam_{precision}"
        assert stage == 0
    else:
        assert path.stem == f"{kind.lower()}_zero{stage}_{precision}"
    assert f"`{path.stem}`" in (path.parent / "README.md").read_text("utf-8")


@each("schemas")
def test_a_schema_is_a_schema(path):
    schema = json.loads(path.read_text("utf-8"))
    validator = jsonschema.validators.validator_for(schema)
    assert "$schema" in schema
    validator.check_schema(schema)


def test_the_accelerate_profiles_start_as_many_processes_as_their_names_say():
    profiles = {
        path.stem: yaml.safe_load(path.read_text("utf-8"))
        for path in (ROOT / "recipes" / "accelerate").glob("*.yaml")
    }
    started = {
        # MULTI_CPU would start one process, whatever num_processes says
        name: profile["num_processes"]
        if profile["distributed_type"] in ("MULTI_GPU", "FSDP", "DEEPSPEED")
        else 1
        for name, profile in profiles.items()
    }
    assert started == {
        "single": 1,
        "cpu-ddp-2": 2,
        "gpu-ddp-4": 4,
        "gpu-ddp-2-nodes": 8,
        "gpu-fsdp-4": 4,
        "gpu-zero3-4": 4,
    }
