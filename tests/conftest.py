"""What holds for every test: one thread, no network but loopback, none of the user's caches."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
GUARD = HERE / "loopback_guard"

sys.path.insert(0, str(GUARD))
import loopback_guard  # noqa: E402

BEFORE = dict(os.environ)
# Set before any test module can import torch or huggingface_hub, which read these once.
# Every worker of pytest-xdist has its own folder, so that one's record is not taken for another's.
SCRATCH = Path(tempfile.mkdtemp(prefix="fin-qlora-tests-"))
DIALS = SCRATCH / "dials.txt"
os.environ.update(
    {
        "DS_ACCELERATOR": "cpu",
        "HF_DATASETS_CACHE": str(SCRATCH / "datasets"),
        "HF_ENDPOINT": loopback_guard.CLOSED,
        "HF_HOME": str(SCRATCH / "huggingface"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HTTP_PROXY": loopback_guard.CLOSED,
        "HTTPS_PROXY": loopback_guard.CLOSED,
        "NO_PROXY": "127.0.0.1,localhost,::1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(GUARD), os.environ.get("PYTHONPATH", "")]),
        ),
        "TOKENIZERS_PARALLELISM": "false",
        loopback_guard.RECORD: str(DIALS),
    }
)
os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(HERE.parent / ".cache" / "torch_extensions"))
for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "https_proxy", "no_proxy", "ALL_PROXY"):
    os.environ.pop(name, None)
loopback_guard.install()


def pytest_unconfigure() -> None:
    import shutil

    shutil.rmtree(SCRATCH, ignore_errors=True)


class Dials:
    """The attempts of this test, and of the programs it started, to reach another machine."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._seen = 0
        self.forget()

    def attempts(self) -> list[str]:
        return self._lines()[self._seen :]

    def forget(self) -> None:
        self._seen = len(self._lines())

    def _lines(self) -> list[str]:
        return self._record.read_text("utf-8").splitlines() if self._record.exists() else []


@pytest.fixture(autouse=True)
def dials() -> Iterator[Dials]:
    """Fail the test that dials another machine, even where a library swallowed the refusal."""
    record = Dials(DIALS)
    yield record
    assert record.attempts() == []


@pytest.fixture(scope="session")
def package_index() -> dict[str, str]:
    """The environment in which pip finds its index: the one network that a test may ask for."""
    return dict(BEFORE)


@pytest.fixture(scope="session")
def tokenizer():
    """The embedded base's tokenizer."""
    from fin_qlora.models.base import load_tokenizer
    from fin_qlora.models.tiny import tiny_base_path

    return load_tokenizer(tiny_base_path())


@pytest.fixture(scope="session")
def small_base(tmp_path_factory, tokenizer) -> Path:
    """A random Llama of two layers with the embedded base's tokenizer, as a folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

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


@pytest.fixture(scope="session")
def xbrl_questions(tmp_path_factory) -> Path:
    """A folder of made-up questions as `fin-qlora data xbrl` writes them: tags and values."""
    import json

    folder = tmp_path_factory.mktemp("questions")
    for split, companies in (("train", range(12)), ("test", range(12, 16))):
        lines = []
        for company in companies:
            facts = [f"<us-gaap:Item{n}>{company}{n}</us-gaap:Item{n}>" for n in range(9)]
            for kind, asked, answer in (
                ("tag", f"Which tag reports {company}4?", "us-gaap:Item4"),
                ("value", "What is the value of Item4?", f"{company}4"),
            ):
                record = {
                    "id": f"{kind}-{company}",
                    "task": kind,
                    "question": asked,
                    "segment": "\n".join(facts),
                    "answer": answer,
                    "answer_alt": [],
                    "facts": [{"text": text, "keep": n == 4} for n, text in enumerate(facts)],
                    "meta": {"cik": f"{company}", "filing": f"filing-{company}"},
                }
                lines.append(json.dumps(record) + "\n")
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder
