"""Commit bodies arrive like every other upload: not for ever, and not all at once."""

import json
import socket

import pytest

from fin_qlora_hub.access.identity import authenticate
from fin_qlora_hub.git.operations import Change, Copy
from fin_qlora_hub.git.rewriting import remove_large_files
from fin_qlora_hub.repositories.committing import commit_change
from fin_qlora_hub.repositories.repository import Kind, RepositoryName, open_writable
from fin_qlora_hub.routes.receiving import PIECE_BYTES


def line(key: str, **value: str) -> bytes:
    return json.dumps({"key": key, "value": value}).encode() + b"\n"


def begun(hub, name: str, *, length: int) -> socket.socket:
    """Send the head of a commit and its first line."""
    host, port = hub.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(20)
    connection.sendall(
        f"POST /api/models/{name}/commit/main HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {hub.tokens['alice']}\r\n"
        f"Content-Length: {length}\r\n\r\n".encode()
        + line("header", summary="s")
    )
    return connection


@pytest.mark.parametrize("length", [1000, 10 * PIECE_BYTES])
def test_a_commit_that_stops_arriving_is_let_go(running, repository, monkeypatch, length) -> None:
    monkeypatch.setattr("fin_qlora_hub.routes.receiving.IDLE_SECONDS", 0.3)
    with begun(running, repository, length=length) as slow:
        assert b" 503 " in slow.recv(1000)
    assert running.api().list_repo_files(repository) == [".gitattributes"]


def test_long_commits_wait_for_a_slot_and_short_ones_do_not(
    start_hub, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("fin_qlora_hub.routes.receiving.WAIT_SECONDS", 0.2)
    header = line("header", summary="s")
    with start_hub(tmp_path / "data", max_uploads=1) as hub:
        hub.api().create_repo("alice/a")
        long = header + line("file", path="f", encoding="base64", content="QQ" * (PIECE_BYTES // 2))
        with begun(hub, "alice/a", length=10 * PIECE_BYTES), hub.http() as http:
            answer = http.post("/api/models/alice/a/commit/main", content=long)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            short = header + line("file", path="g", encoding="base64", content="QQ==")
            assert http.post("/api/models/alice/a/commit/main", content=short).status_code == 200
        with hub.http() as http:
            answers = (
                http.post("/api/models/alice/a/commit/main", content=long) for _ in range(50)
            )
            assert any(answer.status_code == 200 for answer in answers)


def test_a_pull_request_sent_again_is_the_same_one(running, repository) -> None:
    body = line("header", summary="x") + line("file", path="f", encoding="base64", content="QQ==")
    with running.http() as http:
        path = f"/api/models/{repository}/commit/main?create_pr=1"
        first, again = (http.post(path, content=body).json() for _ in range(2))
        assert first == again
        assert first["pullRequestUrl"].endswith("/discussions/1")
        other = http.post(path, content=body.replace(b'"x"', b'"y"')).json()
        assert other["pullRequestUrl"].endswith("/discussions/2")
    with running.http() as http:
        found = http.get(f"/api/models/{repository}/discussions").json()
    assert [(d["num"], d["title"]) for d in found["discussions"]] == [(2, "y"), (1, "x")]


def test_a_copy_of_what_was_taken_out_meanwhile_is_refused(
    running, repository, api, monkeypatch
) -> None:
    """The plan found the file on another branch; it is gone for good before the commit."""
    api.create_branch(repository, branch="side")
    api.upload_file(
        path_or_fileobj=b"weights", path_in_repo="w.bin", repo_id=repository, revision="side"
    )
    sha256 = next(file.oid for file in api.list_lfs_files(repository))
    target = RepositoryName(Kind.MODEL, *repository.split("/"))
    database = running.hub.database
    with database.reading() as session:
        alice = authenticate(session, running.tokens["alice"])
    storage = running.hub.storage
    taken = []

    def publish_late(blobs) -> None:
        if not taken:
            with database.writing() as session:
                remove_large_files(session, open_writable(session, target, alice), [sha256])
            taken.append(sha256)

    monkeypatch.setattr(type(storage.blobs), "publish", lambda _self, blobs: publish_late(blobs))
    change = Change("copy", "", [Copy("v.bin", "w.bin", "side")])
    with pytest.raises(Exception, match="doesn't exist"):
        commit_change(database, storage, target, branch="main", change=change, caller=alice)
    assert taken
    assert api.list_repo_files(repository) == [".gitattributes"]
