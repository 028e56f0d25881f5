"""`push` and `pull` hand over what was asked and print what came of it."""

import json
from pathlib import Path

import pytest

from fin_qlora import publishing
from fin_qlora.publishing import Published

DONE = Published(repo_id="demo/x", commit="c" * 40, url="http://127.0.0.1:1/demo/x")


@pytest.fixture
def calls(monkeypatch):
    seen = []

    def stand_in(name, answer):
        def call(*arguments, **options):
            seen.append((name, arguments, options))
            return answer

        monkeypatch.setattr(publishing, name, call)

    stand_in("push", DONE)
    stand_in("push_base", DONE)
    stand_in("pull", Path("x"))
    return seen


def test_push_in_every_format(fin_qlora, calls):
    assert fin_qlora("push", "a", "demo/x").out.startswith(f"demo/x is at {'c' * 40}\n")
    assert json.loads(fin_qlora("push", "a", "demo/x", "--format", "json").out) == {
        "repo": "demo/x",
        "commit": "c" * 40,
        "url": "http://127.0.0.1:1/demo/x",
    }
    assert fin_qlora("push", "a", "demo/x", "--format", "quiet").out == "c" * 40 + "\n"


def test_push_is_private_unless_told(fin_qlora, calls):
    fin_qlora("push", "a", "demo/x", "--base", "demo/b@v1", "--tag", "v2", "-m", "text")
    fin_qlora("push", "a", "demo/x", "--public", "--allow_noncommercial")
    (_, positional, first), (_, _, second) = calls
    assert positional == ("a", "demo/x")
    assert first == {
        "base": "demo/b@v1",
        "private": True,
        "tag": "v2",
        "message": "text",
        "allow_noncommercial": False,
        "rows": True,
    }
    assert (second["private"], second["allow_noncommercial"]) == (False, True)
    fin_qlora("push", "a", "demo/x", "--without-rows")
    assert calls[2][2]["rows"] is False


def test_a_base_is_pushed_as_one(fin_qlora, calls):
    assert fin_qlora("push", "b", "demo/b", "--as-base").code == 0
    assert calls[0][0] == "push_base"
    for flags in (("--base", "demo/c"), ("--without-rows",)):
        said = fin_qlora("push", "b", "demo/b", "--as-base", *flags)
        assert said.code == 2
        assert "about adapters" in said.err


def test_pull_goes_into_a_folder_of_that_name(fin_qlora, calls):
    said = fin_qlora("pull", "demo/x@v1", "--format", "json")
    assert json.loads(said.out) == {"repo": "demo/x", "folder": "x", "verified": True}
    assert calls == [("pull", ("demo/x@v1", Path("x")), {"revision": None, "force": False})]
    fin_qlora("pull", "demo/x", "here", "--revision", "v1", "--force")
    assert calls[1][1:] == (("demo/x", Path("here")), {"revision": "v1", "force": True})


def test_no_hub_named_is_a_usage_error(fin_qlora, adapter, monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT")
    for arguments in (("push", adapter, "demo/x"), ("pull", "demo/x", adapter / "out")):
        said = fin_qlora(*arguments)
        assert said.code == 2
        assert "Set HF_ENDPOINT" in said.err


def test_a_hub_that_is_down_is_exit_code_5(fin_qlora, adapter, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for arguments in (
        ("push", adapter, "demo/x", "--base", "demo/base"),
        ("pull", "demo/x", tmp_path / "out"),
    ):
        said = fin_qlora(*arguments)
        assert said.code == 5
        assert said.err == (
            "fin-qlora: No hub answers at http://127.0.0.1:9. Start it, or check HF_ENDPOINT.\n"
        )
    assert not (tmp_path / "out").exists()
