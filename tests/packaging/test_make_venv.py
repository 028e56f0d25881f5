"""`make venv` says in one sentence why it cannot start, and then leaves nothing behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path):
    """As much of a fresh clone as the script reads before it installs."""
    for name in (".ci/venv", "pyproject.toml", "hub/pyproject.toml", "constraints.txt"):
        target = tmp_path / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    return tmp_path / "clone"


def make_venv(clone, **settings):
    environment = {**os.environ, "PYTHON": sys.executable, **settings}
    result = subprocess.run(
        ["sh", str(clone / ".ci" / "venv")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stderr


def interpreter(folder, answer):
    """A program that answers as an interpreter would which is too old, or bare."""
    program = folder / "interpreter"
    program.write_text(f"#!/bin/sh\n{answer}\n", "utf-8")
    program.chmod(0o755)
    return str(program)


def test_a_full_disk(clone):
    code, said = make_venv(clone, FREE_GB="99999999")
    assert code == 4
    assert "99999999 GB are needed" in said
    assert "Free some space" in said
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('[ "$1" = -V ] && echo Python 3.9.18; exit 1', "is Python 3.9.18"),
        ("echo 'command not found' >&2; exit 127", "none was found. Install one"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "venv and ensurepip"),
    ],
    ids=["too old", "a shim that fails", "without ensurepip"],
)
def test_no_usable_python(clone, tmp_path, answer, reason):
    code, said = make_venv(clone, PYTHON=interpreter(tmp_path, answer), FREE_GB="0")
    assert code == 4
    assert reason in said
    assert said.count("\n") == 1
    assert not (clone / ".venv").exists()


def test_an_environment_that_was_moved_is_not_thrown_away_before_a_python_is_found(clone, tmp_path):
    environment = clone / ".venv"
    environment.mkdir()
    (environment / ".installed").write_text("1 2\n/somewhere/else\n", "utf-8")
    code, said = make_venv(clone, PYTHON=interpreter(tmp_path, "exit 1"), FREE_GB="0")
    assert code == 4
    assert "does not run here" in said
    assert (environment / ".installed").exists()
