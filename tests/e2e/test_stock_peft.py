"""A stock client uploads, plain PEFT loads, with HF_ENDPOINT and HF_TOKEN and nothing else."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from fin_qlora.inference import load_adapter
from fin_qlora.models.tiny import tiny_base_path

UPLOAD = """
import sys
from huggingface_hub import HfApi
folder, repo = sys.argv[1:]
api = HfApi()
api.create_repo(repo, private=True)
print(api.upload_folder(repo_id=repo, folder_path=folder).oid)
"""

LOAD = """
import sys
import torch
from peft import PeftConfig, PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
repo, given, out = sys.argv[1:]
config = PeftConfig.from_pretrained(repo)
base = AutoModelForCausalLM.from_pretrained(
    config.base_model_name_or_path, revision=config.revision, dtype=torch.bfloat16
)
model = PeftModel.from_pretrained(base, repo).eval()
ids = load_file(given)["ids"]
with torch.no_grad():
    tuned = model(input_ids=ids).logits
    with model.disable_adapter():
        plain = model(input_ids=ids).logits
save_file({"tuned": tuned.contiguous(), "plain": plain.contiguous()}, out)
"""


@pytest.fixture
def stock(hub, tmp_path):
    """Run a program that sees the hub's address and the token, and no setting of ours."""
    kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {name: hub.environment[name] for name in ("HF_ENDPOINT", "HF_TOKEN")}
    environment["HOME"] = str(tmp_path / "home")

    def run(program: str, *arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.strip()

    return run


def test_logits_are_those_of_the_trained_model(demo, stock, tmp_path):
    assert importlib.util.find_spec("hf_xet"), "the stock client comes with hf_xet"
    base_commit = stock(UPLOAD, tiny_base_path(), "demo/stock-base")
    folder = shutil.copytree(demo.adapter("ner"), tmp_path / "adapter")
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config |= {"base_model_name_or_path": "demo/stock-base", "revision": base_commit}
    path.write_text(json.dumps(config))
    stock(UPLOAD, folder, "demo/stock-adapter")

    # verify: the canaries of training are replayed at 4 bits, so this is the trained model
    trained = demo.adapter("ner")
    load_adapter(trained, base=tiny_base_path(), verify=True)
    ours = load_adapter(trained, base=tiny_base_path(), quantization="none")
    (task,) = json.loads((trained / "fin_qlora.json").read_text())["tasks"]
    (canary, *_) = task["canaries"]
    ids = torch.tensor([ours.contract.prompt(ours.tokenizer, canary["input"])])
    with torch.no_grad():
        expected = ours.model(input_ids=ids).logits
    save_file({"ids": ids}, tmp_path / "ids.safetensors")

    stock(LOAD, "demo/stock-adapter", tmp_path / "ids.safetensors", tmp_path / "out.safetensors")
    found = load_file(tmp_path / "out.safetensors")
    assert torch.equal(found["tuned"], expected)
    assert not torch.equal(found["plain"], expected), "the adapter does something"
