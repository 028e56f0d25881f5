"""The plugin against vLLM's documented interface, without vLLM."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from importlib.metadata import entry_points

import pytest

from fin_qlora.errors import DataError, UsageError
from fin_qlora.serving import vllm_plugin
from fin_qlora.serving.adapters import AdapterSource

#: What this package needs elsewhere and an environment of vLLM 0.33 does not have.
ABSENT = (
    "accelerate bitsandbytes datasets deepspeed evaluate fin_qlora_hub lm_eval matplotlib peft "
    "pyarrow rich scipy sklearn trl typer"
).split()


@pytest.fixture
def settings(monkeypatch, served):
    monkeypatch.setenv("FIN_QLORA_SERVE_NAMESPACES", "demo")
    monkeypatch.setenv("FIN_QLORA_SERVE_BASE_REVISION", served[1])


def test_vllm_finds_the_plugin_by_its_entry_point():
    (plugin,) = [
        one for one in entry_points(group="vllm.general_plugins") if one.name == "fin_qlora"
    ]
    assert plugin.load() is vllm_plugin.register


@pytest.mark.usefixtures("settings")
def test_a_registered_resolver_answers_with_a_request(vllm, pushed, served, caplog):
    name, commit = pushed()
    caplog.set_level(logging.INFO)
    vllm_plugin.register()
    vllm_plugin.register()  # as in several processes, or twice in one
    (found,) = vllm.ask(served[0], f"{name}@{commit}")
    assert found.lora_name == f"{name}@{commit}"
    assert found.lora_path.endswith(commit)
    assert f"is {name} at {commit}, for synthetic_ner" in caplog.text


@pytest.mark.usefixtures("settings")
def test_a_refusal_is_none_and_its_reason_is_logged(vllm, pushed, served, caplog):
    name, commit = pushed()
    vllm_plugin.register()
    asked = ["other/ner", "demo/none", "no name", f"{name}@{commit}", name]
    found = vllm.ask(served[0], *asked)
    assert [one.lora_name if one else None for one in found] == [None, None, None, *asked[3:]]
    assert len({one.lora_int_id for one in found if one}) == 2
    reasons = [record.getMessage() for record in caplog.records]
    for reason in ("in no namespace", "is not on the hub", "is not an adapter"):
        assert [line for line in reasons if reason in line and "is refused" in line]


def resolver_of(vllm):
    vllm_plugin.register()
    (resolver,) = vllm.resolvers.values()
    return resolver


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (DataError("It holds 'a\n\x1b[31mERROR all is lost.py'."), r"'a\n\x1b[31mERROR all"),
        (RecursionError("too deep\nERROR"), r"could not be checked: RecursionError"),
    ],
)
def test_any_failure_is_a_refusal_on_one_line(vllm, monkeypatch, caplog, error, says):
    def fails(*_, **__):
        raise error

    resolver = resolver_of(vllm)
    monkeypatch.setattr(AdapterSource, "find", fails)
    assert asyncio.run(resolver.resolve_lora("demo/base", "demo/a")) is None
    (line,) = [record.getMessage() for record in caplog.records]
    assert says in line
    assert line.isprintable()


@pytest.mark.usefixtures("settings")
def test_slow_fetches_leave_the_threads_of_the_engine_alone(vllm, monkeypatch):
    done = threading.Event()

    def slow(*_, **__):
        assert done.wait(60)
        raise DataError("It took too long.")

    resolver = resolver_of(vllm)
    monkeypatch.setattr(AdapterSource, "find", slow)

    async def together():
        asked = [
            asyncio.create_task(resolver.resolve_lora("demo/base", f"demo/{n}")) for n in range(50)
        ]
        await asyncio.sleep(0)
        try:
            # as the engine does to tokenize
            await asyncio.wait_for(asyncio.to_thread(int), 20)
        finally:
            done.set()
        return await asyncio.gather(*asked)

    assert asyncio.run(together()) == 50 * [None]


@pytest.mark.usefixtures("settings")
def test_what_comes_from_the_cache_is_logged(vllm, pushed, served, monkeypatch, caplog):
    name, _ = pushed()
    vllm_plugin.register()
    assert vllm.ask(served[0], name)[0]
    assert "from the cache" not in caplog.text
    away = "http://127.0.0.1:9"
    monkeypatch.setenv("HF_ENDPOINT", away)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", away)
    assert vllm.ask(served[0], name)[0]
    assert f"Adapter '{name}' is served from the cache: No hub answers" in caplog.text


def test_without_settings_nothing_happens(vllm, monkeypatch):
    monkeypatch.delenv("FIN_QLORA_SERVE_NAMESPACES", raising=False)
    vllm_plugin.register()
    assert vllm.resolvers == {}


def test_a_wrong_setting_keeps_the_server_from_starting(vllm, monkeypatch):
    monkeypatch.setenv("FIN_QLORA_SERVE_NAMESPACES", "demo")
    monkeypatch.setenv("FIN_QLORA_SERVE_MAX_RANK", "big")
    with pytest.raises(UsageError):
        vllm_plugin.register()
    assert vllm.resolvers == {}


@pytest.mark.usefixtures("settings")
def test_it_says_when_vllm_will_not_ask(vllm, monkeypatch, caplog):
    monkeypatch.delenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING")
    vllm_plugin.register()
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING is not 1" in caplog.text


PROGRAM = """
import json, os, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split():
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
before = dict(os.environ)
from fin_qlora.serving import vllm_plugin
vllm_plugin.register()  # nothing is set
same = dict(os.environ) == before
light = not {"torch", "transformers", "huggingface_hub"} & set(sys.modules)
from fin_qlora.serving.adapters import AdapterSource
from fin_qlora.serving.policy import ServingPolicy
name, base, commit = sys.argv[2:]
source = AdapterSource(ServingPolicy(namespaces=("demo",), base_revision=commit))
found = source.find(name, base=base)
print(json.dumps({"same": same, "light": light, "commit": found.commit}))
"""


def test_the_environment_of_vllm_is_enough_and_is_left_as_it_was(hub, served, pushed):
    name, commit = pushed()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, " ".join(ABSENT), name, *served],
        env=hub.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "same": True,
        "light": True,
        "commit": commit,
    }
