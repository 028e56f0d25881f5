"""A hub's contents move from the disk to a bucket and back, and a bucket has one hub."""

import random
from collections.abc import Iterator

import pytest
from throwaway_s3 import Moto

from fin_qlora_hub.care.backup import back_up
from fin_qlora_hub.care.checking import check, scrub
from fin_qlora_hub.care.relocating import relocate
from fin_qlora_hub.care.restoring import restore
from fin_qlora_hub.errors import AlreadyExistsError, BadRequestError, UnusableDataError
from fin_qlora_hub.hub import initialise, open_hub
from fin_qlora_hub.metadata.locking import lock_data_dir
from fin_qlora_hub.settings import Settings

pytestmark = pytest.mark.disk  # each says itself where its contents are
WEIGHTS = random.Random(21).randbytes(1_300_000)


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    server = Moto()
    yield server
    server.remove()


@pytest.fixture
def filled(start_hub, tmp_path) -> dict[str, str]:
    """A hub on the disk, stopped, with a file in chunks and one inline; give its tokens."""
    with start_hub(tmp_path / "data") as hub:
        hub.api().create_repo("alice/a")
        for path, content in (("w.bin", WEIGHTS), ("note.txt", b"text")):
            hub.api().upload_file(path_or_fileobj=content, path_in_repo=path, repo_id="alice/a")
        return hub.tokens


def read(hub, path: str) -> bytes:
    with hub.http() as http:
        return http.get(f"/alice/a/resolve/main/{path}", follow_redirects=True).content


@pytest.mark.sqlite
def test_there_and_back(filled, start_hub, tmp_path, moto) -> None:
    place = moto.settings(moto.new_bucket())
    settings = Settings(data_dir=tmp_path / "data", **place)
    done = relocate(settings, to_bucket=True)
    assert (done.contents, done.xorbs, done.findings) == (2, 1, [])
    again = relocate(settings, to_bucket=True)
    assert (again.contents, again.xorbs, again.size) == (0, 0, 0)
    with start_hub(settings.data_dir, tokens=filled, **place) as hub:
        assert list(check(hub.hub)) == list(scrub(hub.hub)) == []
        assert (read(hub, "w.bin"), read(hub, "note.txt")) == (WEIGHTS, b"text")
        hub.api().upload_file(path_or_fileobj=b"new", path_in_repo="new", repo_id="alice/a")
    back = relocate(settings, to_bucket=False)
    assert (back.contents, back.xorbs, back.findings) == (1, 0, [])
    with start_hub(settings.data_dir, tokens=filled) as hub:
        assert list(check(hub.hub)) == list(scrub(hub.hub)) == []
        assert read(hub, "new") == b"new"


@pytest.mark.sqlite
def test_what_is_damaged_is_named_and_not_copied(filled, tmp_path, moto) -> None:
    settings = Settings(data_dir=tmp_path / "data", **moto.settings(moto.new_bucket()))
    for root in (settings.blobs_path, settings.xorbs_path):
        path = max(root.glob("??/*"), key=lambda path: path.stat().st_size)
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")
        if root == settings.xorbs_path:
            path.write_bytes(b"\x09" + path.read_bytes()[1:])
    done = relocate(settings, to_bucket=True)
    assert (done.contents, done.xorbs, len(done.findings)) == (1, 0, 2)


@pytest.mark.sqlite
def test_the_command(filled, command, monkeypatch, tmp_path, moto) -> None:
    assert "STORAGE_URL" in command("copy-contents", "--to", "bucket").stderr
    for name, value in moto.settings(moto.new_bucket()).items():
        monkeypatch.setenv(f"FIN_QLORA_HUB_{name.upper()}", value)
    settings = Settings(data_dir=tmp_path / "data")
    with lock_data_dir(settings):
        assert "already served" in command("copy-contents", "--to", "bucket").stderr
    done = command("copy-contents", "--to", "bucket")
    assert done.returncode == 0, done.stderr
    assert "Copied 2 contents and 1 xorbs" in done.stdout
    assert command("fsck").returncode == 0


def test_without_a_bucket_nothing_can_be_copied(tmp_path) -> None:
    with pytest.raises(BadRequestError, match="no bucket"):
        relocate(Settings(data_dir=tmp_path), to_bucket=True)


@pytest.mark.sqlite
def test_two_hubs_do_not_share_a_bucket(tmp_path, moto) -> None:
    bucket = moto.new_bucket()
    one, other = (
        Settings(data_dir=tmp_path / name, **moto.settings(bucket)) for name in ("one", "other")
    )
    for settings in (one, other):
        initialise(settings)
    for _ in range(2):
        with open_hub(one):
            pass
    with pytest.raises(UnusableDataError, match="another hub"), open_hub(other):
        pass
    elsewhere = Settings(data_dir=tmp_path / "other", **moto.settings(bucket, prefix="other"))
    with open_hub(elsewhere):
        pass


@pytest.mark.sqlite
def test_a_backup_is_restored_into_a_bucket_that_is_nobodys(filled, tmp_path, moto) -> None:
    place = moto.settings(moto.new_bucket())
    relocate(Settings(data_dir=tmp_path / "data", **place), to_bucket=True)
    with open_hub(Settings(data_dir=tmp_path / "data", **place)) as hub:
        back_up(hub, tmp_path / "backup")
    with pytest.raises(AlreadyExistsError, match="choose another prefix"):
        restore(Settings(data_dir=tmp_path / "new", **place), tmp_path / "backup")
    free = Settings(data_dir=tmp_path / "new", **moto.settings(moto.new_bucket()))
    assert restore(free, tmp_path / "backup") == []
    with open_hub(free) as hub:
        assert list(check(hub)) == list(scrub(hub)) == []
