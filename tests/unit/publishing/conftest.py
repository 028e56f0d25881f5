"""Adapter folders, and a real hub that runs for all tests of a worker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evidence"))
from adapter_folder import base_identity, write_adapter, write_base


@pytest.fixture
def base(tmp_path) -> Path:
    return write_base(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path, base) -> Path:
    """An adapter that was trained on a local folder."""
    return write_adapter(tmp_path / "adapter", base=base_identity(base, name="fin-qlora/local"))


@pytest.fixture(scope="session")
def running_hub(tmp_path_factory):
    from fin_qlora.cli.demo_hub import demo_hub

    with demo_hub(tmp_path_factory.mktemp("hub"), user="demo") as hub:
        yield hub


@pytest.fixture
def hub(running_hub, monkeypatch):
    """The hub, named to this process as a user names it."""
    for name in ("HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.setenv(name, running_hub.environment[name])
    # before the client was loaded, which reads it once
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", running_hub.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        running_hub.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    return running_hub


@pytest.fixture
def name(request) -> str:
    """A repository of this test's own."""
    own = "".join(c if c.isalnum() else "-" for c in request.node.name).strip("-")
    return f"demo/{own[-60:].strip('-')}"
