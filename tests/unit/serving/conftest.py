"""A real hub with a base and adapters on it, and a stand-in for the interface of vLLM."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from fin_qlora.evidence import write_manifest
from fin_qlora.publishing import push, push_base
from fin_qlora.serving.policy import ServingPolicy
from fin_qlora.tasks import get

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evidence"))
from adapter_folder import base_identity, manifest, write_adapter, write_base

TASK = "synthetic_ner"
_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def running_hub(tmp_path_factory):
    from fin_qlora.cli.demo_hub import demo_hub

    with demo_hub(tmp_path_factory.mktemp("hub"), user="demo") as hub:
        yield hub


@pytest.fixture
def hub(running_hub, tmp_path, monkeypatch):
    """The hub, named to this process, with an empty cache."""
    for name in ("HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.setenv(name, running_hub.environment[name])
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", running_hub.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        running_hub.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return running_hub


@pytest.fixture
def base(tmp_path) -> Path:
    return write_base(tmp_path / "base", weights=b"weights of this base")


@pytest.fixture
def served(hub, base) -> tuple[str, str]:
    """Id and commit of the base that is served."""
    return "demo/base", push_base(base, "demo/base").commit


@pytest.fixture
def policy(served) -> ServingPolicy:
    return ServingPolicy(namespaces=("demo",), base_revision=served[1])


def tensors(rank: int = 4) -> dict[str, torch.Tensor]:
    layer = "base_model.model.model.layers.0.self_attn"
    return {
        f"{layer}.{module}.lora_{side}.weight": torch.full(shape, 0.5, dtype=torch.bfloat16)
        for module in ("q_proj", "v_proj")
        for side, shape in (("A", (rank, 8)), ("B", (8, rank)))
    }


@pytest.fixture
def pushed(served, base, tmp_path) -> Callable[..., tuple[str, str]]:
    """Push an adapter with these tensors and settings; return its id and commit."""

    def run(*, weights: dict | None = None, name: str = "", **settings) -> tuple[str, str]:
        number = next(_NUMBERS)
        identity = {**base_identity(base, name=served[0]), "revision": served[1]}
        folder = write_adapter(tmp_path / f"adapter-{number}", base=identity, task=TASK)
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text()) | {"peft_type": "LORA", "bias": "none"} | settings
        path.write_text(json.dumps(config))
        save_file(weights or tensors(), folder / "adapter_model.safetensors")
        write_manifest(folder, manifest(get(TASK), base=identity))
        repository = name or f"demo/served-{number}"
        return repository, push(folder, repository).commit

    return run


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str = ""

    def __post_init__(self):
        assert self.lora_int_id >= 1
        assert self.lora_path


class LoRAResolver(ABC):
    @abstractmethod
    async def resolve_lora(self, base_model_name: str, lora_name: str): ...


class Registry:
    def __init__(self):
        self.resolvers: dict[str, LoRAResolver] = {}

    def register_resolver(self, resolver_name: str, resolver: LoRAResolver) -> None:
        assert isinstance(resolver, LoRAResolver)
        self.resolvers[resolver_name] = resolver

    def ask(self, base: str, *names: str) -> list[LoRARequest | None]:
        """Ask the only resolver for all names at once, as a server does in its event loop."""
        (resolver,) = self.resolvers.values()

        async def together():
            return await asyncio.gather(
                *(resolver.resolve_lora(base_model_name=base, lora_name=name) for name in names)
            )

        return asyncio.run(together())


@pytest.fixture
def vllm(monkeypatch) -> Registry:
    """The part of vLLM 0.33 that a resolver meets, and its registry."""
    registry = Registry()
    resolver, request = ModuleType("vllm.lora.resolver"), ModuleType("vllm.lora.request")
    resolver.LoRAResolver, resolver.LoRAResolverRegistry = LoRAResolver, registry
    request.LoRARequest = LoRARequest
    for module in (ModuleType("vllm"), ModuleType("vllm.lora"), resolver, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1")
    return registry


@pytest.fixture
def changed(policy) -> Callable[..., ServingPolicy]:
    return lambda **values: replace(policy, **values)
