"""`fin-qlora doctor` tells what is there and ends with 1 when something is bad."""

import json
from importlib import metadata

import pytest

from fin_qlora.cli import doctor


@pytest.fixture
def installed(monkeypatch):
    """A distribution with these requirements, whether or not fin-qlora is installed here."""
    requirements = ["typer>=0.29", "rich<1", "no-such-package>=2", "tox; extra == 'dev'"]
    monkeypatch.setattr(metadata, "requires", lambda _name: requirements)


def checks(said):
    return {check["name"]: check for check in json.loads(said.out)["checks"]}


def test_versions_are_held_against_the_tested_window(fin_qlora, installed, monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT")
    said = fin_qlora("doctor", "--format", "json")
    found = checks(said)
    assert said.code == 1
    assert found["typer"]["state"] == "good"
    assert found["rich"]["state"] == "bad"
    assert found["rich"]["detail"].endswith("tested with <1")
    assert found["no-such-package"]["detail"] == "missing; needs >=2"
    assert "tox" not in found
    assert {"Python", "bfloat16", "disk", "egress"} <= set(found)
    assert "set HF_ENDPOINT" in found["hub"]["detail"]


def test_all_well_is_exit_code_0(fin_qlora, monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT")
    monkeypatch.setattr(metadata, "requires", lambda _name: ["typer>=0.29"])
    assert fin_qlora("doctor", "--format", "quiet").out == "well\n"
    said = fin_qlora("doctor")
    assert said.code == 0
    assert "CHECK" in said.out


def test_a_hub_that_does_not_answer_is_bad(fin_qlora, monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda _name: [])
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert "hub: There is no token" in fin_qlora("doctor", "--format", "quiet").out
    monkeypatch.setenv("HF_TOKEN", "some-token")
    said = fin_qlora("doctor", "--format", "quiet")
    assert said.code == 1
    assert said.out.startswith("hub: No hub answers at http://127.0.0.1:9.")


def test_not_installed_is_bad(fin_qlora, monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.delenv("HF_ENDPOINT")
    monkeypatch.setattr(metadata, "requires", absent)
    assert checks(fin_qlora("doctor", "--format", "json"))["fin-qlora"]["state"] == "bad"


@pytest.mark.parametrize(("flags", "noted"), [("avx512_bf16", True), ("avx2", False)])
def test_the_processor_that_needs_the_guard_is_noted(monkeypatch, tmp_path, flags, noted):
    (tmp_path / "cpuinfo").write_text(f"flags : fpu {flags}")
    monkeypatch.setattr(doctor, "Path", lambda _path: tmp_path / "cpuinfo")
    assert doctor._has_avx512_bf16() is noted
