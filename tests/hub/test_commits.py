"""A commit that is sent again, by a client that lost the answer, changes nothing."""

import json
from datetime import timedelta

import pytest

from fin_qlora_hub.git import changes


def line(key: str, **value: str) -> bytes:
    return json.dumps({"key": key, "value": value}).encode() + b"\n"


def add(path: str, content: str) -> bytes:
    return line("file", path=path, content=content, encoding="base64")


@pytest.fixture
def commit(running, repository):
    def send(*lines: bytes, title: str = "t", caller: str = "alice", branch: str = "main", **more):
        body = line("header", summary=title, **more) + b"".join(lines)
        with running.http(caller) as http:
            return http.post(f"/api/models/{repository}/commit/{branch}", content=body)

    return send


def content(running, repository: str, path: str) -> bytes:
    with running.http() as http:
        return http.get(f"/{repository}/resolve/main/{path}").content


def test_a_delete_sent_again_is_the_same_commit(commit, api, repository) -> None:
    commit(add("f", "QQ=="))
    first = commit(line("deletedFile", path="f"))
    again = commit(line("deletedFile", path="f"))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert "x-hf-warning" not in again.headers
    assert commit(line("deletedFile", path="f"), title="other").status_code == 404
    assert len(api.list_repo_commits(repository)) == 3


def test_a_late_repeat_does_not_undo_what_came_after(commit, running, repository) -> None:
    first = commit(add("f", "QQ=="))
    second = commit(add("f", "Qg=="))
    late = commit(add("f", "QQ=="))
    assert late.json() == first.json()
    assert content(running, repository, "f") == b"B"
    assert second.json()["commitOid"] in late.headers["x-hf-warning"]
    # meant, not repeated: other words, another author, or a parent
    head = second.json()["commitOid"]
    assert commit(add("f", "QQ=="), title="back to A").status_code == 200
    assert content(running, repository, "f") == b"A"
    assert commit(add("f", "Qg=="), parentCommit=head).status_code == 412


def test_the_same_wish_is_a_new_one_after_a_while(commit, running, repository, monkeypatch) -> None:
    first = commit(add("f", "QQ=="))
    commit(add("f", "Qg=="))
    monkeypatch.setattr("fin_qlora_hub.repositories.commits.REPEAT_WINDOW", timedelta(seconds=-1))
    later = commit(add("f", "QQ=="))
    assert later.json()["commitOid"] != first.json()["commitOid"]
    assert content(running, repository, "f") == b"A"


def test_the_same_request_on_another_branch_is_another(commit, api, repository) -> None:
    api.create_branch(repository, branch="b")
    first = commit(add("f", "QQ=="))
    commit(add("g", "Qg=="), branch="b")
    second = commit(add("f", "QQ=="), branch="b")
    assert first.json()["commitOid"] != second.json()["commitOid"]
    # a branch that was made anew does not have what the old one had
    api.delete_branch(repository, branch="b")
    api.create_branch(repository, branch="b", revision=first.json()["commitOid"])
    commit(line("deletedFile", path="f"), branch="b")
    assert commit(add("f", "QQ=="), branch="b").json() != second.json()


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (line("deletedFile", path="a" * 1025), 422),
        (line("deletedFolder", path="a" * 1025 + "/"), 422),
        (line("copyFile", path="a", srcPath="a" * 1025), 422),
        (line("copyFile", path="a", srcPath="b", srcRevision="c" * 301), 400),
    ],
)
def test_long_paths_are_refused_while_they_are_read(commit, monkeypatch, bad, status) -> None:
    kept = []
    monkeypatch.setattr(changes, "_size", lambda operation: kept.append(operation) or 0)
    answer = commit(*[bad] * 50)
    assert answer.status_code == status
    assert kept == []
    assert len(answer.headers["x-error-message"]) <= 500
    assert len(answer.content) < 1000


def test_the_paths_of_a_commit_are_bounded_together(commit, monkeypatch) -> None:
    monkeypatch.setattr(changes, "MAX_KEPT_BYTES", 10_000)
    lines = [line("deletedFile", path="a" * 900 + str(n)) for n in range(20)]
    answer = commit(*lines)
    assert answer.status_code == 413
    assert "10,000 bytes" in answer.json()["error"]
