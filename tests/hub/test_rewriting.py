"""Large files are taken out for good or copied without being sent; a branch becomes one commit."""

import random
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

from fin_qlora_hub.care.checking import check
from fin_qlora_hub.git import inventory
from fin_qlora_hub.routes import rewriting as routes


def some_bytes(size: int, *, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def add(path: str, content: bytes = b"x") -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


@pytest.fixture
def filled(api, repository) -> str:
    """Five commits; the secret came with the second, under two names."""
    secret = some_bytes(5000, seed=1)
    for number, operations in enumerate(
        [
            [add("first")],
            [add("d/secret.bin", secret), add("keep.bin", some_bytes(100, seed=2))],
            [add("again.bin", secret)],
            [add("last")],
        ]
    ):
        api.create_commit(repository, operations, commit_message=f"commit {number}")
    api.create_tag(repository, tag="v1")
    return repository


def test_large_files_are_listed(api, filled, monkeypatch) -> None:
    for module in (inventory, routes):
        monkeypatch.setattr(module, "PAGE", 1)
    found = {file.filename: file for file in api.list_lfs_files(filled)}
    assert {name: file.size for name, file in found.items()} == {"again.bin": 5000, "keep.bin": 100}
    paths = api.get_paths_info(filled, ["again.bin"])
    assert found["again.bin"].oid == paths[0].lfs.sha256


def test_large_files_are_listed_where_they_stand(api, repository) -> None:
    """At the head of a reference by its path there, in the past alone by the path that it had."""
    side, past, deep = (some_bytes(200, seed=seed) for seed in (11, 12, 13))
    api.create_commit(repository, [add("a/b/past.bin", past)], commit_message="past")
    api.create_branch(repository, branch="side")
    api.upload_file(
        path_or_fileobj=side, path_in_repo="s/side.bin", repo_id=repository, revision="side"
    )
    changes = [CommitOperationDelete("a/b/past.bin"), add("c/d/deep.bin", deep)]
    api.create_commit(repository, changes, commit_message="deep")
    api.delete_file("a/b/past.bin", repository, revision="side")
    assert {(file.filename, file.ref) for file in api.list_lfs_files(repository)} == {
        ("s/side.bin", "refs/heads/side"),
        ("c/d/deep.bin", "refs/heads/main"),
        ("a/b/past.bin", "refs/heads/main"),
    }


def test_a_file_is_gone_from_every_commit(api, filled, running, tmp_path) -> None:
    before = [commit.commit_id for commit in api.list_repo_commits(filled)]
    made = api.create_commit(filled, [add("pr")], commit_message="request", create_pr=True)
    gone = [file for file in api.list_lfs_files(filled) if file.size == 5000]
    api.permanently_delete_lfs_files(filled, gone)
    after = [commit.commit_id for commit in api.list_repo_commits(filled)]
    assert len(after) == len(before)
    assert after[-2:] == before[-2:]  # what came before the file is as it was
    assert not set(after[:-2]) & set(before)
    assert api.list_repo_refs(filled).tags[0].target_commit == after[0]
    files = {".gitattributes", "first", "keep.bin", "last"}
    assert set(api.list_repo_files(filled)) == files
    assert set(api.list_repo_files(filled, revision=made.pr_revision)) == {*files, "pr"}
    with running.http() as http:
        for old in before[:-2]:
            assert http.get(f"/{filled}/resolve/{old}/d/secret.bin").status_code == 404
    with pytest.raises(RemoteEntryNotFoundError):
        api.hf_hub_download(filled, "again.bin", cache_dir=tmp_path)
    body = '{"key":"header","value":{"summary":"s"}}\n{"key":"lfsFile","value":' + (
        f'{{"path":"back.bin","algo":"sha256","oid":"{gone[0].oid}","size":5000}}}}'
    )
    with running.http() as http:
        answer = http.post(f"/api/models/{filled}/commit/main", content=body.encode())
        assert answer.status_code == 400
    api.merge_pull_request(filled, made.pr_num)
    assert "pr" in api.list_repo_files(filled)
    assert list(check(running.hub)) == []


def test_what_is_refused(api, filled, running) -> None:
    files = list(api.list_lfs_files(filled))
    with pytest.raises(HfHubHTTPError, match="rewrite the history"):
        api.permanently_delete_lfs_files(filled, files, rewrite_history=False)
    api.update_repo_settings(filled, visibility="public")
    for caller in ("carol", "alice-read"):
        with pytest.raises(HfHubHTTPError, match="may read"):
            running.api(caller).permanently_delete_lfs_files(filled, files)
        with pytest.raises(HfHubHTTPError, match="may read"):
            running.api(caller).super_squash_history(filled)
    assert "again.bin" in api.list_repo_files(filled)


def test_a_squashed_branch(api, filled, running) -> None:
    before = set(api.list_repo_files(filled))
    tagged = api.list_repo_refs(filled).tags[0].target_commit
    api.super_squash_history(filled, commit_message="all in one")
    assert [commit.title for commit in api.list_repo_commits(filled)] == ["all in one"]
    assert set(api.list_repo_files(filled)) == before
    assert len(api.list_repo_commits(filled, revision="v1")) == 5
    assert api.model_info(filled, revision="v1").sha == tagged
    api.upload_file(path_or_fileobj=b"on", path_in_repo="on", repo_id=filled)
    with pytest.raises(HfHubHTTPError):
        api.super_squash_history(filled, branch="missing")
    assert list(check(running.hub)) == []


@pytest.mark.parametrize("size", [5000, 1_500_000])
def test_a_copy_into_another_repository(api, running, repository, new_name, tmp_path, size) -> None:
    data = some_bytes(size, seed=size)
    api.upload_file(path_or_fileobj=data, path_in_repo="w.bin", repo_id=repository)
    for namespace in ("alice", "desk"):
        other = new_name(namespace)
        api.create_repo(other)
        copy = CommitOperationCopy(
            "w.bin", "copy.bin", src_repo_id=repository, src_repo_type="model"
        )
        api.create_commit(other, [copy], commit_message="copy")
        path = api.hf_hub_download(other, "copy.bin", cache_dir=tmp_path)
        assert Path(path).read_bytes() == data
    assert list(check(running.hub)) == []


def test_a_copy_needs_both_rights(running, repository, new_name, api) -> None:
    api.upload_file(path_or_fileobj=b"w", path_in_repo="w.bin", repo_id=repository)
    sha256 = api.get_paths_info(repository, ["w.bin"])[0].lfs.sha256
    theirs = new_name("carol")
    running.api("carol").create_repo(theirs)
    files = [{"sha256": sha256, "xetHash": "0" * 64, "filename": "w.bin"}]
    for caller, source, target, status in [
        ("carol", repository, theirs, 404),
        ("alice", repository, theirs, 404),
        ("carol", theirs, theirs, 200),
    ]:
        with running.http(caller) as http:
            answer = http.post(
                f"/api/models/{source}/lfs-files/duplicate",
                json={"target": {"type": "model", "name": target}, "files": files},
            )
            assert answer.status_code == status
    assert answer.json()["failed"][0]["sha256"] == sha256
