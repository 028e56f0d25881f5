"""A full disk is told clearly, leaves no half of anything, and lets things be removed."""

import errno
import shutil

import pytest
from huggingface_hub.errors import HfHubHTTPError

from fin_qlora_hub.errors import StorageFullError
from fin_qlora_hub.metadata import database
from fin_qlora_hub.stores import disk
from fin_qlora_hub.stores.disk import RESERVE_BYTES
from fin_qlora_hub.stores.local_blobs import LocalBlobStore


def files(running) -> set[str]:
    return {str(path) for path in running.hub.settings.blobs_path.rglob("*") if path.is_file()}


def disk_full(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["append", "sync_folder", "os.fsync"])
def test_a_full_disk_at_the_first_commit(start_hub, tmp_path, monkeypatch, place) -> None:
    with start_hub(tmp_path / "data") as hub:
        with monkeypatch.context() as broken:
            broken.setattr(f"{disk.__name__}.{place}", disk_full)
            with pytest.raises(HfHubHTTPError, match="disk is full") as refused:
                hub.api().create_repo("alice/a")
        assert refused.value.response.status_code == 507
        assert not list((hub.hub.settings.blobs_path / "incoming").iterdir())
        assert not hub.api().repo_exists("alice/a")
        hub.api().create_repo("alice/a")


def test_uploads_leave_room_to_remove_things(running, new_name, monkeypatch) -> None:
    name = new_name()
    api = running.api()
    api.create_repo(name)
    usage = shutil.disk_usage(running.hub.settings.data_dir)._replace(free=RESERVE_BYTES // 2)
    with monkeypatch.context() as nearly_full:
        nearly_full.setattr("fin_qlora_hub.stores.disk.shutil.disk_usage", lambda _path: usage)
        for act in (
            lambda: api.create_repo(new_name()),
            lambda: api.upload_file(path_or_fileobj=b"x", path_in_repo="f", repo_id=name),
        ):
            with pytest.raises(HfHubHTTPError, match="disk is full"):
                act()
        api.delete_repo(name)
    assert not api.repo_exists(name)


def test_the_reserve_is_kept_while_bytes_arrive(tmp_path, monkeypatch) -> None:
    def write() -> None:
        for _ in range(20):
            writer.write(bytes(1024 * 1024))

    writer = LocalBlobStore(tmp_path).writer(limit=10**9)
    usage = shutil.disk_usage(tmp_path)._replace(free=RESERVE_BYTES // 2)
    monkeypatch.setattr("fin_qlora_hub.stores.disk.shutil.disk_usage", lambda _path: usage)
    with pytest.raises(StorageFullError):
        write()
    writer.discard()


@pytest.mark.parametrize("place", ["append", "sync_folder", "os.fsync"])
def test_a_full_disk(running, repository, monkeypatch, place) -> None:
    before = files(running)
    api = running.api()
    content = place.encode() * 1000
    with monkeypatch.context() as broken:
        broken.setattr(f"{disk.__name__}.{place}", disk_full)
        with pytest.raises(HfHubHTTPError, match="disk is full") as refused:
            api.upload_file(path_or_fileobj=content, path_in_repo="f", repo_id=repository)
        assert refused.value.response.status_code == 507
        assert not list((running.hub.settings.blobs_path / "incoming").iterdir())
        assert api.list_repo_files(repository) == [".gitattributes"]
    if place != "sync_folder":  # by then the content had its name, which only a sweep may take
        assert files(running) == before
    api.upload_file(path_or_fileobj=content, path_in_repo="f", repo_id=repository)
    assert "f" in api.list_repo_files(repository)


@pytest.mark.sqlite
def test_a_full_disk_under_the_database(start_hub, tmp_path, monkeypatch) -> None:
    prepare = database._prepare

    def prepare_small(connection, **options) -> None:
        prepare(connection, **options)
        connection.execute("PRAGMA max_page_count = 120")

    monkeypatch.setattr(database, "_prepare", prepare_small)
    with start_hub(tmp_path / "data") as hub:
        hub.api().create_repo("alice/a")
        options = {"path_or_fileobj": b"x", "path_in_repo": "f", "repo_id": "alice/a"}
        with pytest.raises(HfHubHTTPError, match="disk is full") as refused:
            hub.api().upload_file(**options, commit_description="x" * 500_000)
        assert refused.value.response.status_code == 507
        assert hub.api().list_repo_files("alice/a") == [".gitattributes"]
        hub.api().upload_file(**options)


def test_no_room_is_noticed_before_bytes_move(running, repository, monkeypatch) -> None:
    def no_room(_store: object, size: int) -> None:
        if size:
            raise StorageFullError("The hub's disk is full")

    monkeypatch.setattr(LocalBlobStore, "require_space", no_room)
    with pytest.raises(HfHubHTTPError, match="disk is full") as refused:
        running.api().upload_file(path_or_fileobj=b"x", path_in_repo="f", repo_id=repository)
    assert "/preupload/" in str(refused.value)
