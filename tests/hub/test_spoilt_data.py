"""A data directory that is damaged, of another version or open to others is noticed."""

import sqlite3
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.sqlite


def half_made(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE namespaces (id INTEGER)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = '0099'")
        database.commit()


def without_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE tokens")
        database.commit()


@pytest.mark.parametrize(
    ("made", "spoil", "complaint", "init"),
    [
        (False, lambda path: path.touch(), "empty database: run `fin-qlora-hub init", 0),
        (False, half_made, "half made", 4),
        (False, lambda path: path.write_bytes(b"no database" * 999), "not the database", 4),
        (False, lambda path: path.mkdir(), "run `fin-qlora-hub init", 4),
        (True, newer, "newer version of the hub", 4),
        (True, without_a_table, "no such table", 0),
    ],
)
def test_a_spoilt_data_directory(command, tmp_path, made, spoil, complaint, init) -> None:
    path = tmp_path / "data" / "hub.sqlite3"
    if made:
        command("init")
        command("user", "add", "alice")
    else:
        path.parent.mkdir(mode=0o700)
    spoil(path)
    commands = [["token", "create", "alice", "--name", "n"]]
    if spoil is not without_a_table:
        commands += [["serve", "--port", "0"], ["user", "add", "x"]]
    for arguments in commands:
        refused = command(*arguments)
        assert (refused.returncode, refused.stdout) == (4, "")
        assert complaint in refused.stderr
        assert refused.stderr.count("\n") == 1
    again = command("init")
    assert again.returncode == init
    assert again.stderr.count("\n") == (1 if init else 0)


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o077 for path in [folder, *folder.rglob("*")]}


def test_nobody_else_on_the_machine_can_read_the_data(command, tmp_path, served) -> None:
    folder = tmp_path / "data"
    command("init")
    command("user", "add", "alice")
    assert modes(folder) == {0}
    for path in (folder, tmp_path / "empty"):  # made by an administrator's `mkdir`
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
        assert command("init", "--data-dir", str(path)).returncode == 0
        assert path.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with served(folder) as (_, url):
        with urllib.request.urlopen(f"{url}/healthz") as answer:
            assert answer.status == 200
        assert modes(folder) == {0}


def test_other_peoples_directories_are_left_alone(command, tmp_path, monkeypatch) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "file").touch()
    refused = command("init", "--data-dir", str(shared))
    assert (refused.returncode, "chmod 700" in refused.stderr) == (4, True)
    assert shared.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in shared.iterdir()] == ["file"]

    def not_ours(*_arguments: object) -> None:
        raise PermissionError("not the owner")

    (shared / "file").unlink()
    monkeypatch.setattr(Path, "chmod", not_ours)
    refused = command("init", "--data-dir", str(shared))
    assert (refused.returncode, "chmod 700" in refused.stderr) == (4, True)
