"""PEFT, transformers and the `hf` command line work with HF_ENDPOINT and HF_TOKEN alone."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fin_qlora_hub.access.identity import add_organization

LOAD = """
import json, sys
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter, revision = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base)
model = PeftModel.from_pretrained(model, adapter, revision=revision)
with torch.no_grad():
    logits = model.eval()(torch.arange(12)[None]).logits
print(json.dumps(logits.double().flatten().tolist()))
"""


@dataclass(frozen=True)
class Trained:
    base: Path
    save_adapter: Callable[[Path, str], None]
    logits: list[float]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny random Llama with a LoRA that does something, and its logits."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    shape = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    base = LlamaForCausalLM(shape).eval()
    folder = tmp_path_factory.mktemp("base")
    base.save_pretrained(folder)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)

    model = get_peft_model(base, lora).eval()
    with torch.no_grad():
        logits = model(torch.arange(12)[None]).logits.double().flatten().tolist()

    def save_adapter(to: Path, base_id: str) -> None:
        model.peft_config["default"].base_model_name_or_path = base_id
        model.save_pretrained(to, save_embedding_layers=False)  # else it asks a hub for the base

    return Trained(folder, save_adapter, logits)


def test_push_and_load_in_a_fresh_process(running, trained, new_name, tmp_path, run_python) -> None:
    base_id, adapter_id = new_name("desk"), new_name("desk")
    api = running.api()
    api.create_repo(base_id)
    api.upload_folder(folder_path=trained.base, repo_id=base_id)
    adapter = tmp_path / "adapter"
    trained.save_adapter(adapter, base_id)
    environment = running.environment(tmp_path)
    push = (
        "import sys; from peft import PeftModel; from transformers import AutoModelForCausalLM\n"
        "base = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "model = PeftModel.from_pretrained(base, sys.argv[2])\n"
        "model.push_to_hub(sys.argv[3])\n"
    )
    pushed = run_python("-c", push, base_id, str(adapter), adapter_id, env=environment)
    assert pushed.returncode == 0, pushed.stderr
    info = api.model_info(adapter_id)
    assert info.private
    assert f"base_model:adapter:{base_id}" in info.tags

    loaded = run_python("-c", LOAD, base_id, adapter_id, info.sha, env=environment)
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout) == trained.logits
    assert not running.api("carol").repo_exists(adapter_id)


def test_a_base_in_the_local_cache_need_not_be_hosted(
    running, trained, new_name, tmp_path, run_python
) -> None:
    base_id, adapter_id = "elsewhere/base", new_name()
    trained.save_adapter(tmp_path / "adapter", base_id)
    api = running.api()
    api.create_repo(adapter_id)
    api.upload_folder(folder_path=tmp_path / "adapter", repo_id=adapter_id)
    cached = tmp_path / ".cache/huggingface/hub/models--elsewhere--base"
    commit = "1" * 40
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    (cached / "snapshots").mkdir()
    (cached / "snapshots" / commit).symlink_to(trained.base, target_is_directory=True)

    environment = running.environment(tmp_path)
    loaded = run_python("-c", LOAD, base_id, adapter_id, "main", env=environment)
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout) == trained.logits


LOAD_AS_RECORDED = """
import json, sys
import torch
from peft import PeftConfig, PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
recorded = PeftConfig.from_pretrained(sys.argv[1])
base, revision = recorded.base_model_name_or_path, recorded.revision
assert AutoConfig.from_pretrained(base, revision=revision).vocab_size == 64
assert AutoTokenizer.from_pretrained(base, revision=revision)("a")["input_ids"] == [1]
model = AutoModelForCausalLM.from_pretrained(base, revision=revision)
model = PeftModel.from_pretrained(model, sys.argv[1])
with torch.no_grad():
    logits = model.eval()(torch.arange(12)[None]).logits
print(json.dumps(logits.double().flatten().tolist()))
"""


def test_a_mirrored_base_at_the_revision_that_an_adapter_records(
    running, start_hub, trained, tmp_path, run_python
) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    with running.hub.database.writing() as session:
        add_organization(session, "lab", owner="alice")
    there, base_id = running.api(), "lab/tiny"
    there.create_repo(base_id)
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path / "tokenizer")
    there.upload_folder(folder_path=tmp_path / "tokenizer", repo_id=base_id)
    revision = there.upload_folder(folder_path=trained.base, repo_id=base_id).oid
    # the base moves on, to what would fit no adapter
    there.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=base_id)
    with start_hub(
        tmp_path / "here",
        mirror_upstream=running.url,
        mirror_token=running.tokens["alice-read"],
        mirror_allow="lab/*",
        mirror_readers="everyone",
        outgoing_networks="127.0.0.0/8",
    ) as here:
        trained.save_adapter(tmp_path / "adapter", base_id)
        config = tmp_path / "adapter" / "adapter_config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "revision": revision}))
        here.api().create_repo("alice/adapter")
        here.api().upload_folder(folder_path=tmp_path / "adapter", repo_id="alice/adapter")
        environment = here.environment(tmp_path)
        loaded = run_python("-c", LOAD_AS_RECORDED, "alice/adapter", env=environment)
        assert loaded.returncode == 0, loaded.stderr
        assert json.loads(loaded.stdout) == trained.logits
        assert here.api().model_info(base_id, revision=revision).sha == revision


def test_hf_command_line(hf, running, new_name, tmp_path) -> None:
    name = new_name()
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "adapter_model.safetensors").write_bytes(b"weights" * 1000)
    (source / "sub" / "note.txt").write_text("text")
    assert "alice" in hf("auth", "whoami")
    hf("repos", "create", name)
    hf("repos", "create", name, "--exist-ok")
    hf("upload", name, str(source))
    hf("upload", name, str(source / "sub" / "note.txt"), "note.txt", "--revision", "draft")
    hf("repos", "tag", "create", name, "v1")
    hf("repos", "branch", "create", name, "feature/x")
    hf("download", name, "--local-dir", str(tmp_path / "whole"), "--revision", "v1")
    for path in ("adapter_model.safetensors", "sub/note.txt"):
        assert (tmp_path / "whole" / path).read_bytes() == (source / path).read_bytes()
    hf("download", name, "note.txt", "--local-dir", str(tmp_path / "one"), "--revision", "draft")
    assert (tmp_path / "one" / "note.txt").read_text() == "text"
    found = hf("models", "ls", "--search", name.split("/")[1], "--format", "json")
    assert name in [model["id"] for model in json.loads(found)]
    assert json.loads(hf("models", "info", name, "--format", "json"))["id"] == name
    hf("repos", "delete-files", name, "sub/note.txt")
    assert "sub/note.txt" not in running.api().list_repo_files(name)
    hf("repos", "settings", name, "--public")
    assert running.api("carol").repo_exists(name)
    hf("repos", "delete", name, "--yes")
    assert not running.api().repo_exists(name)
