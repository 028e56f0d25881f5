"""Commands that are killed at any step leave a hub that is whole, and can simply be run again."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from fin_qlora_hub.care.checking import check, scrub
from fin_qlora_hub.hub import open_hub
from fin_qlora_hub.metadata.tables import StoredFile, XetFile, Xorb, XorbOwner
from fin_qlora_hub.settings import Settings

# Runs a command that dies when one function has been called so many times.
KILLER = """
import functools, importlib, os, signal, sys
target, moment, calls = sys.argv[1:4]
calls = int(calls)
module, _, path = target.partition(":")
owner = importlib.import_module(module)
*parents, name = path.split(".")
for parent in parents:
    owner = getattr(owner, parent)
original = getattr(owner, name)

@functools.wraps(original)
def deadly(*arguments, **named):
    global calls
    calls -= 1
    if calls == 0:
        if moment == "after":
            original(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **named)

setattr(owner, name, deadly)
from fin_qlora_hub.cli import main
sys.argv = ["fin-qlora-hub", *sys.argv[4:]]
main()
"""
COMMIT = "sqlalchemy.engine.base:Connection._commit_impl"
PLACE = "fin_qlora_hub.stores.disk:put_in_place"
BACKUP = [(PLACE, "before", 1), (PLACE, "after", 2), (PLACE, "before", 4), (PLACE, "after", 4)]
RESTORE = [
    ("fin_qlora_hub.stores.disk:IncomingFile.finish", "after", 2),
    (PLACE, "after", 1),
    ("fin_qlora_hub.care.restoring:load_rows", "after", 1),
    (COMMIT, "before", 1),
    (COMMIT, "after", 1),
]
IMPORT = [
    ("fin_qlora_hub.stores.disk:IncomingFile.finish", "after", 2),
    ("fin_qlora_hub.care.importing:store_tree", "after", 1),
    (COMMIT, "before", 1),
    (COMMIT, "after", 1),
]
COLLECT = [
    ("pathlib:Path.unlink", "before", 1),
    ("pathlib:Path.unlink", "after", 1),
    ("pathlib:Path.unlink", "after", 2),
    (COMMIT, "before", 1),
    (COMMIT, "after", 1),
    (COMMIT, "after", 2),
]
WEIGHTS = random.Random(41).randbytes(1_200_000)


@pytest.fixture
def hub(start_hub, tmp_path):
    """A hub with two repositories that share a content."""
    with start_hub(tmp_path / "data") as running:
        for name in ("alice/a", "alice/b"):
            running.api().create_repo(name)
            running.api().upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=name)
        running.api().upload_file(path_or_fileobj=WEIGHTS, path_in_repo="w.bin", repo_id="alice/a")
        yield running


@pytest.fixture
def killed(hub):
    """Run a command that is killed on the way: `killed(step, data_dir, "gc")`."""

    def run(step: tuple[str, str, int], data_dir, *arguments: str) -> None:
        environment = {**os.environ, "FIN_QLORA_HUB_DATA_DIR": str(data_dir)}
        line = [sys.executable, "-c", KILLER, *map(str, step), *arguments]
        done = subprocess.run(line, env=environment, capture_output=True, timeout=120, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    return run


def is_whole(data_dir) -> bool:
    with open_hub(Settings(data_dir=data_dir)) as hub:
        return list(check(hub)) == list(scrub(hub)) == []


@pytest.mark.sqlite
@pytest.mark.parametrize("step", BACKUP, ids=str)
def test_a_backup(hub, killed, command, tmp_path, step) -> None:
    killed(step, tmp_path / "data", "backup", str(tmp_path / "backup"))
    assert command("backup", str(tmp_path / "backup")).returncode == 0
    snapshots = tmp_path / "backup" / "snapshots"
    happened = step == BACKUP[-1]
    assert len(list(snapshots.iterdir())) == (2 if happened else 1)
    for name in (path.name for path in snapshots.iterdir()):
        options = ("--snapshot", name, "--data-dir", str(tmp_path / name))
        assert command("restore", str(tmp_path / "backup"), *options).returncode == 0
        assert is_whole(tmp_path / name)


@pytest.mark.sqlite
@pytest.mark.parametrize("step", RESTORE, ids=str)
def test_a_restoration(hub, killed, command, tmp_path, step) -> None:
    command("backup", str(tmp_path / "backup"))
    restored = tmp_path / "restored"
    killed(step, restored, "restore", str(tmp_path / "backup"))
    happened = step == RESTORE[-1]
    again = command("restore", str(tmp_path / "backup"), "--data-dir", str(restored))
    assert again.returncode == (5 if happened else 0), again.stderr
    assert is_whole(restored)


@pytest.mark.sqlite
@pytest.mark.parametrize("step", IMPORT, ids=str)
def test_an_import(hub, killed, command, tmp_path, start_hub, step) -> None:
    key, bundle, away = str(tmp_path / "key"), str(tmp_path / "bundle"), tmp_path / "away"
    command("key", key)
    assert command("export", "alice/a", "--to", bundle, "--key", key).returncode == 0
    with start_hub(away) as other:
        arguments = ("import", bundle, "--trust", f"{key}.pub")
        killed(step, away, *arguments)
        assert other.api().repo_exists("alice/a") is (step == IMPORT[-1])
        assert is_whole(away)
        assert command(*arguments, "--data-dir", str(away)).returncode == 0
        sha = hub.api().model_info("alice/a").sha
        assert other.api().model_info("alice/a").sha == sha
        assert is_whole(away)


@pytest.mark.sqlite
@pytest.mark.parametrize("step", COLLECT, ids=str)
def test_a_collection(hub, killed, command, tmp_path, step) -> None:
    api = hub.api()
    api.delete_repo("alice/a")
    with hub.hub.database.writing() as session:
        then = datetime.now(UTC) - timedelta(days=23)
        session.execute(update(XorbOwner).values(touched_at=then))
        for kind in (Xorb, XetFile):
            session.execute(update(kind).values(created_at=then))
        session.execute(update(StoredFile).values(sent_at=then))
    for name, _ in hub.hub.blobs.contents():
        os.utime(hub.hub.blobs.path_of(name), (time.time() - 23 * 86400,) * 2)
    lost = hub.hub.settings.blobs_path / "ab" / ("cd" * 31)
    lost.parent.mkdir(exist_ok=True)
    with closing(lost.open("xb")):
        os.utime(lost, (0, 0))
    killed(step, tmp_path / "data", "gc")
    assert list(check(hub.hub)) == []
    with hub.http() as http:
        assert http.get("/alice/b/resolve/main/x").content == b"x"
    assert command("gc").returncode == 0
    assert list(check(hub.hub)) == []
    assert not list(hub.hub.xorbs.files.kept())
    assert len(list(hub.hub.blobs.contents())) == 2
