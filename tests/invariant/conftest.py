"""Programs on one or two processes, and a base model too small to be slow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import pytest

from fin_qlora.files import shipped
from fin_qlora.models.tiny import tiny_base_path


@pytest.fixture(scope="session")
def small_base(tmp_path_factory) -> Path:
    """A random Llama of two layers with the embedded base's tokenizer, as a folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from fin_qlora.models.base import load_tokenizer

    tokenizer = load_tokenizer(tiny_base_path())
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("small-base")
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def launch(tmp_path):
    """Run a program, given as text, under an accelerate profile; return the folder it wrote to."""

    def run(program: str, *arguments: object, profile: str) -> Path:
        folder = Path(mkdtemp(dir=tmp_path, prefix=f"{profile}-"))
        source = folder / "program.py"
        source.write_text(program, "utf-8")
        command = [
            *(sys.executable, "-m", "accelerate.commands.launch"),
            *("--config_file", str(shipped("recipes") / "accelerate" / f"{profile}.yaml")),
            *(str(source), str(folder), *map(str, arguments)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return folder

    return run
