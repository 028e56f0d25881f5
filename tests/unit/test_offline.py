"""One place says which hub is asked, and nothing is loaded before the switch is set."""

import json
import os
import subprocess
import sys

import pytest

from fin_qlora.errors import EnvironmentFault
from fin_qlora.offline import endpoint, quiet_environment

ROOMS = ("training", "inference", "evaluation", "publishing", "recipes")
SWITCHES = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK")

# stops at the first library that reads the switches, which also makes it quick
FIRST_LOOK = f"""
import importlib, json, os, sys
from importlib.abc import MetaPathFinder

def tell():
    print(json.dumps({{name: os.environ.get(name) for name in {SWITCHES!r}}}), flush=True)
    os._exit(0)

class Watch(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "huggingface_hub", "transformers", "trl", "peft", "datasets"):
            tell()

sys.meta_path.insert(0, Watch())
importlib.import_module(sys.argv[1])
tell()
"""


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("unset", [None, ""])
def test_the_switch_is_set_before_a_room_loads_anything(room, unset):
    hidden = ("HF_ENDPOINT", *SWITCHES)
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    if unset is not None:
        environment["HF_ENDPOINT"] = unset
    found = subprocess.run(
        [sys.executable, "-c", FIRST_LOOK, f"fin_qlora.{room}"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(found.stdout) == dict.fromkeys(SWITCHES, "1")


@pytest.mark.parametrize("value", ["", "  ", "/", None])
def test_an_empty_address_is_no_hub(monkeypatch, value):
    monkeypatch.delenv("HF_ENDPOINT")
    if value is not None:
        monkeypatch.setenv("HF_ENDPOINT", value)
    assert endpoint() is None


def test_the_address_has_no_slash_at_its_end(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", None)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:80/")
    assert endpoint() == "http://127.0.0.1:80"


def test_a_client_that_was_loaded_for_another_hub_is_an_error(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "https://huggingface.co")
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.bank.example")
    with pytest.raises(EnvironmentFault, match=r"loaded for https://huggingface\.co\..*before"):
        endpoint()
    # no hub is named: then nobody is asked, and the difference does not matter
    monkeypatch.delenv("HF_ENDPOINT")
    assert endpoint() is None


def test_a_hub_that_is_named_later_is_reached(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT")
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    quiet_environment()
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    quiet_environment()
    assert "HF_HUB_OFFLINE" not in os.environ
    # the user's own wish is kept
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    quiet_environment()
    assert os.environ["HF_HUB_OFFLINE"] == "1"
