"""What a bare import loads. (How long it takes is measured by benchmarks/import_time.py.)"""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "accelerate",
    "bitsandbytes",
    "datasets",
    "deepspeed",
    "evaluate",
    "huggingface_hub",
    "numpy",
    "pandas",
    "peft",
    "pyarrow",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
    "trl",
}


def loaded_by(program: str) -> set[str]:
    program += "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize("program", ["import fin_qlora", "import fin_qlora.cli.main"])
def test_no_heavy_library_is_loaded(program):
    assert loaded_by(program) & HEAVY == set()


def test_the_hub_needs_no_torch():
    assert loaded_by("import fin_qlora_hub.app") & {"torch", "transformers", "fin_qlora"} == set()


def test_public_names_are_there_and_known_before_they_are_loaded():
    import fin_qlora

    public = {"load_adapter", "FinSFTTrainer", "FinSFTConfig", "XBRLMultiTaskCollator"}
    assert public <= set(fin_qlora.__all__)
    assert public <= set(dir(fin_qlora))
    with pytest.raises(AttributeError):
        fin_qlora.load_adaptor  # noqa: B018
