"""Files are whole or absent, are nobody else's, and open to whom the user's umask allows."""

import os

import pytest

from fin_qlora.errors import UsageError
from fin_qlora.files import directory_in_place, write_text


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o777


def test_a_file_is_open_as_the_umask_allows(umask, tmp_path):
    write_text(tmp_path / "a.json", "{}")
    assert mode(tmp_path / "a.json") == 0o666 & ~umask


def test_so_is_everything_in_a_folder_whoever_wrote_it(umask, tmp_path):
    with directory_in_place(tmp_path / "adapter") as new:
        (new / "eval").mkdir(mode=0o700)
        for name in ("adapter_model.safetensors", "eval/rows.parquet"):
            # as safetensors does, for the owner alone
            os.close(os.open(new / name, os.O_CREAT | os.O_WRONLY, 0o600))
    folder = tmp_path / "adapter"
    assert {mode(folder), mode(folder / "eval")} == {0o777 & ~umask}
    assert {mode(path) for path in folder.rglob("*.*")} == {0o666 & ~umask}


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    with (
        pytest.raises(UsageError, match=r"holds no manifest\.json.*--force"),
        directory_in_place(mine, known_by="manifest.json"),
    ):
        pytest.fail("nothing is begun")
    with (
        pytest.raises(UsageError, match="is a file"),
        directory_in_place(mine / "thesis.txt", known_by="manifest.json"),
    ):
        pytest.fail("nothing is begun")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


@pytest.mark.parametrize("older", [None, "empty", "ours"])
def test_nothing_an_empty_folder_and_an_older_one_of_ours_are_replaced(tmp_path, older):
    folder = tmp_path / "adapter"
    if older:
        folder.mkdir()
    if older == "ours":
        write_text(folder / "manifest.json", "old")
        write_text(folder / "leftover", "old")
    with directory_in_place(folder, known_by="manifest.json") as new:
        write_text(new / "manifest.json", "new")
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_the_working_directory_can_be_named_by_a_dot(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with directory_in_place(type(tmp_path)("."), known_by="manifest.json") as new:
        write_text(new / "manifest.json", "new")
    assert (tmp_path / "here" / "manifest.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_the_older_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    folder = tmp_path / "adapter"
    write_text(folder / "kept", "old")
    rename, renamed = os.replace, []

    def second_fails(source, target):
        renamed.append(target)
        if len(renamed) == 2:
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    def replace():
        with directory_in_place(folder) as new:
            (new / "a").touch()
            monkeypatch.setattr(os, "replace", second_fails)

    with pytest.raises(PermissionError):
        replace()
    assert len(renamed) == 3
    assert (folder / "kept").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
