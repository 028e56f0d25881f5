"""What is recorded of the machine, and what it was asked for."""

import pytest

from fin_qlora.evidence.environment import cores, machine, threads_asked, versions


@pytest.mark.parametrize(
    ("value", "threads"), [("4", 4), ("4,2", 4), (" 3 ", 3), ("", 0), ("many", 0), (None, 0)]
)
def test_the_threads_that_are_asked_for(monkeypatch, value, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if value is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads_asked() == threads


def test_versions_of_what_is_named_and_installed():
    assert set(versions(["typer", "no-such-package"])) == {"python", "typer"}
    assert {"python", "torch"} <= set(versions())


def test_the_machine_has_cores():
    assert machine()["cores"] == cores() >= 1
