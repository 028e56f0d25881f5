"""What goes wrong on the server's side is told clearly and leaves no half of anything."""

import errno
from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError

from fin_qlora_hub import blobs, database
from fin_qlora_hub.blobs import LocalBlobStore
from fin_qlora_hub.errors import StorageFullError


def files(running) -> set[str]:
    return {str(path) for path in running.hub.settings.blobs_path.rglob("*") if path.is_file()}


def disk_full(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["_append", "_sync_folder", "os.fsync"])
def test_a_full_disk(running, repository, monkeypatch, place) -> None:
    before = files(running)
    api = running.api()
    content = place.encode() * 1000
    with monkeypatch.context() as broken:
        broken.setattr(f"{blobs.__name__}.{place}", disk_full)
        with pytest.raises(HfHubHTTPError, match="disk is full") as refused:
            api.upload_file(path_or_fileobj=content, path_in_repo="f", repo_id=repository)
        assert refused.value.response.status_code == 507
        assert not list((running.hub.settings.blobs_path / "incoming").iterdir())
        assert api.list_repo_files(repository) == [".gitattributes"]
    if place != "_sync_folder":  # by then the content had its name, which only a sweep may take
        assert files(running) == before
    api.upload_file(path_or_fileobj=content, path_in_repo="f", repo_id=repository)
    assert "f" in api.list_repo_files(repository)


def test_a_full_disk_under_the_database(start_hub, tmp_path, monkeypatch) -> None:
    prepare = database._prepare

    def prepare_small(connection, record) -> None:
        prepare(connection, record)
        connection.execute("PRAGMA max_page_count = 60")

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


def test_a_busy_database_is_told_and_keeps_nobody_from_a_file(
    start_hub, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("fin_qlora_hub.database.BUSY_TIMEOUT_SECONDS", 0.05)
    with start_hub(tmp_path / "data") as hub, hub.http() as http:
        hub.api().create_repo("alice/a")
        hub.api().upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="alice/a")
        with hub.hub.database.writing():
            answer = http.post("/api/repos/create", json={"name": "b"})
            file = http.get(
                "/alice/a/resolve/main/config.json", headers={"X-HF-Download-Counter": "1"}
            )
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (file.status_code, file.content) == (200, b"{}")
        assert http.post("/api/repos/create", json={"name": "b"}).status_code == 200


def test_a_failure_inside_shows_nothing_of_the_inside(running, repository, monkeypatch) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr("fin_qlora_hub.commits._describe", broken)
    with running.http() as http:
        body = b'{"key":"header","value":{"summary":"s"}}\n' + (
            b'{"key":"file","value":{"path":"f","content":"MQ==","encoding":"base64"}}\n'
        )
        answer = http.post(f"/api/models/{repository}/commit/main", content=body)
    assert answer.status_code == 500
    assert answer.headers["x-error-code"] == "InternalError"
    assert "secret" not in answer.text
    assert running.api().list_repo_files(repository) == [".gitattributes"]


def test_commits_at_the_same_time_all_happen(running, repository) -> None:
    def commit(number: int) -> str:
        operation = CommitOperationAdd(f"f{number}", str(number).encode())
        return running.api().create_commit(repository, [operation], commit_message="c").oid

    with ThreadPoolExecutor(8) as pool:
        oids = set(pool.map(commit, range(24)))
    assert len(oids) == 24
    assert len(running.api().list_repo_files(repository)) == 25
    assert {c.commit_id for c in running.api().list_repo_commits(repository)} >= oids


def test_of_conflicting_commits_one_happens(running, repository) -> None:
    head = running.api().model_info(repository).sha

    def commit(number: int) -> int:
        operation = CommitOperationAdd("f", str(number).encode())
        try:
            running.api().create_commit(
                repository, [operation], commit_message=f"{number}", parent_commit=head
            )
        except HfHubHTTPError as error:
            return error.response.status_code
        return 200

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(commit, range(8))) == [200] + [412] * 7


def test_equal_contents_are_stored_once(running, repository, new_name) -> None:
    before = files(running)
    api = running.api()
    for name in (repository, new_name()):
        api.create_repo(name, exist_ok=True)
        operations = [CommitOperationAdd(path, b"the same content") for path in ("a", "b")]
        api.create_commit(name, operations, commit_message="c")
    assert len(files(running) - before) == 1


def test_a_sweep_removes_only_what_was_never_finished(tmp_path) -> None:
    store = LocalBlobStore(tmp_path)
    kept = store.writer(limit=10)
    kept.write(b"kept")
    staged = kept.finish()
    store.publish([staged])
    lost = store.writer(limit=10)
    lost.write(b"lost")
    lost.finish()
    assert store.sweep() == 1
    assert b"".join(store.read(staged.content.sha256)) == b"kept"
    lost.discard()
