"""Importing the package and using its command line asks nothing of any other machine.

These run with the real default endpoint of huggingface_hub, so that an attempt would be made.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("fin-qlora"))
HUB_COMMAND = str(Path(sys.executable).with_name("fin-qlora-hub"))
PUBLIC = "load_adapter, FinSFTTrainer, FinSFTConfig, XBRLMultiTaskCollator"


@pytest.fixture
def untouched(tmp_path):
    """The environment of a user who has set nothing."""
    hidden = (
        "HF_ENDPOINT",
        "HF_HUB_DISABLE_TELEMETRY",
        "HF_HUB_OFFLINE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
    )
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | {"HF_HOME": str(tmp_path / "huggingface"), "HOME": str(tmp_path)}


def run(command, environment, folder):
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "program",
    [
        "import fin_qlora",
        f"from fin_qlora import {PUBLIC}",
        "import fin_qlora.recipes.classification",
        "import fin_qlora_hub.app",
    ],
)
def test_imports(program, untouched, tmp_path, dials):
    result = run([sys.executable, "-c", program], untouched, tmp_path)
    assert result.returncode == 0, result.stderr
    assert dials.attempts() == []


@pytest.mark.parametrize(
    "command",
    [
        [COMMAND, "--help"],
        [COMMAND, "recipes", "ls"],
        [COMMAND, "doctor"],
        [HUB_COMMAND, "--help"],
    ],
    ids=lambda command: " ".join(Path(word).name for word in command),
)
def test_commands(command, untouched, tmp_path, dials):
    result = run(command, untouched, tmp_path)
    # doctor may have findings about the machine (1) or miss something in it (4)
    assert result.returncode in ((0, 1, 4) if "doctor" in command else (0,)), result.stderr
    assert "Traceback" not in result.stderr
    assert dials.attempts() == []


LOAD = """
from fin_qlora import load_adapter
try:
    load_adapter("bank/secret-adapter")
except Exception as error:
    print(type(error).__name__, error)
"""
NAMED_LATE = """
import os
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
os.environ["HF_TOKEN"] = "hf_secret"
"""


@pytest.mark.parametrize("endpoint", [None, ""])
def test_an_adapter_is_looked_for_in_the_cache_alone(endpoint, untouched, tmp_path, dials):
    if endpoint is not None:
        untouched["HF_ENDPOINT"] = endpoint
    result = run([sys.executable, "-c", LOAD], untouched, tmp_path)
    assert result.stdout.startswith("HubNotFoundError 'bank/secret-adapter' is not in the local")
    assert dials.attempts() == []


@pytest.mark.parametrize("before", ["huggingface_hub", "transformers.utils.hub"])
def test_a_hub_named_after_its_client_was_loaded_is_refused(before, untouched, tmp_path, dials):
    # the client would ask the public hub for a private name, with the token of the private one
    program = f"from huggingface_hub import HfApi\nimport {before}\n{NAMED_LATE}\n{LOAD}"
    result = run([sys.executable, "-c", program], untouched, tmp_path)
    assert result.stdout.startswith("EnvironmentFault HF_ENDPOINT names http://127.0.0.1:9, but")
    assert dials.attempts() == []


def test_a_hub_named_after_our_own_import_is_asked(untouched, tmp_path, dials):
    program = f"from fin_qlora import load_adapter\n{NAMED_LATE}\n{LOAD}"
    result = run([sys.executable, "-c", program], untouched, tmp_path)
    assert result.stdout.startswith("HubUnreachableError No hub answers at http://127.0.0.1:9.")
    assert dials.attempts() == []


def test_training_and_predicting(untouched, tmp_path, dials):
    data = tmp_path / "data" / "tfns"
    data.mkdir(parents=True)
    rows = "text,label\nGood news today,1\nBad news today,0\nPlain news today,2\n"
    (data / "sent_train.csv").write_text(rows)
    (data / "sent_valid.csv").write_text(rows.replace("today", "tomorrow"))
    recipe = [sys.executable, "-m", "fin_qlora.recipes.classification"]
    flags = ["--task", "tfns", "--max_steps", "2", "--learning_rate", "1e-2"]
    places = [f"--data_dir={tmp_path / 'data'}", "--output_dir", str(tmp_path / "out")]
    result = run([*recipe, *flags, *places], untouched, tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert dials.attempts() == []
    # nor does the evidence, which is published, tell where on this machine it was made
    command = json.loads((tmp_path / "out/adapter/manifest.json").read_text())["command"]
    assert command == ["classification.py", *flags, "--data_dir=data", "--output_dir", "out"]
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "out/adapter").glob("*.*")}
    assert len(modes) == 1, "the weights are as readable as the rest"
    result = run(
        [COMMAND, "predict", "out/adapter", "News", "--format", "quiet"], untouched, tmp_path
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.strip() in ("negative", "neutral", "positive")
    assert dials.attempts() == []
