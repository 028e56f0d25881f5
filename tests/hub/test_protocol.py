"""Details of HTTP on which clients, proxies and attackers rely."""

import json
import socket
from dataclasses import replace

import pytest
from contents import contents_of
from waiting import wait_until

HEADER = b'{"key":"header","value":{"summary":"s"}}\n'


def file_line(path: str, content: str = "eA==", **value: str) -> bytes:
    value = {"path": path, "content": content, "encoding": "base64", **value}
    return json.dumps({"key": "file", "value": value}).encode() + b"\n"


@pytest.fixture
def http(running):
    with running.http() as client:
        yield client


@pytest.fixture
def stored(api, repository) -> str:
    api.upload_file(path_or_fileobj=bytes(range(100)), path_in_repo="f", repo_id=repository)
    return f"/{repository}/resolve/main/f"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("0-9", 0, 10), ("90-", 90, 100), ("-10", 90, 100), ("50-500", 50, 100), ("-500", 0, 100)],
)
def test_a_single_range(http, stored, asked, start, end) -> None:
    for method in ("GET", "HEAD"):
        answer = http.request(method, stored, headers={"Range": f"bytes={asked}"})
        assert answer.status_code == 206
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/100"
        assert answer.headers["content-length"] == str(end - start)
        assert answer.content == (bytes(range(start, end)) if method == "GET" else b"")


@pytest.mark.parametrize("asked", ["0-" + "9" * 5000, "-" + "9" * 5000, "0" * 5000 + "-"])
def test_a_range_of_thousands_of_digits(http, stored, asked) -> None:
    answer = http.get(stored, headers={"Range": f"bytes={asked}"})
    assert (answer.status_code, len(answer.content)) == (206, 100)
    outside = http.get(stored, headers={"Range": f"bytes={'9' * 5000}-"})
    assert outside.status_code == 416


@pytest.mark.parametrize("asked", ["100-", "200-300", "-0"])
def test_a_range_outside(http, stored, asked) -> None:
    answer = http.get(stored, headers={"Range": f"bytes={asked}"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */100")


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=-", "bytes=9-1", "lines=1-2", "x"])
def test_ranges_that_mean_nothing_give_the_whole_file(http, stored, asked) -> None:
    answer = http.get(stored, headers={"Range": asked})
    assert (answer.status_code, len(answer.content)) == (200, 100)


def test_caching_headers(http, stored, repository) -> None:
    head = http.head(stored)
    assert head.headers["cache-control"] == "private, no-cache"
    assert http.get(stored, headers={"If-None-Match": head.headers["etag"]}).status_code == 304
    stale = {"Range": "bytes=0-1", "If-Range": '"other"'}
    assert http.get(stored, headers=stale).status_code == 200
    commit = head.headers["x-repo-commit"]
    pinned = http.head(f"/{repository}/resolve/{commit}/f")
    assert "immutable" in pinned.headers["cache-control"]
    assert head.headers["content-type"] == "application/octet-stream"
    assert head.headers["x-content-type-options"] == "nosniff"
    assert head.headers["content-disposition"].startswith("attachment")


def test_encoded_slashes(http, api, repository) -> None:
    api.create_branch(repository, branch="feature/x")
    api.upload_file(
        path_or_fileobj=b"x", path_in_repo="a/b c#.txt", repo_id=repository, revision="feature/x"
    )
    assert http.get(f"/{repository}/resolve/feature%2Fx/a/b%20c%23.txt").content == b"x"
    assert http.get(f"/{repository}/resolve/refs%2Fheads%2Fmain/.gitattributes").status_code == 200
    items = http.get(f"/api/models/{repository}/tree/feature%2Fx/a%2F").json()
    assert [item["path"] for item in items] == ["a/b c#.txt"]
    assert http.get(f"/{repository}/resolve/main/..%2F..%2Fhub.sqlite3").status_code == 404


def test_every_error_carries_its_code_as_json(http, repository) -> None:
    for method, path in [
        ("GET", "/nowhere"),
        ("GET", "/api/spaces/a/b"),
        ("GET", f"/api/models/{repository}/discussions/1"),
        ("GET", f"/api/models/{repository}/discussions?p=x"),
        ("PATCH", f"/api/models/{repository}"),
        ("GET", f"/api/models/{repository}/revision/missing"),
        ("GET", f"/{repository}/resolve/main/missing"),
        ("GET", "/api/models?limit=x"),
        ("GET", "/api/models?cursor=x"),
        ("GET", "/api/models?expand=password"),
        ("GET", "/api/models?sort=x"),
        ("POST", "/api/repos/create"),
        ("GET", "/api/models/missing/commits/main"),
    ]:
        answer = http.request(method, path)
        assert 400 <= answer.status_code < 500, path
        assert answer.headers["x-error-code"], path
        assert set(answer.json()) == {"error"}, path
        assert answer.headers["x-request-id"]


def test_missing_files_name_the_commit(http, repository, api) -> None:
    answer = http.head(f"/{repository}/resolve/main/missing")
    assert answer.headers["x-error-code"] == "EntryNotFound"
    assert answer.headers["x-repo-commit"] == api.model_info(repository).sha


def test_small_answers(running) -> None:
    with running.http("anonymous") as http:
        assert http.get("/api/agent-harnesses").json() == {}
        assert http.head("/api/telemetry/a/b").status_code == 204
        assert http.get("/healthz").json() == {"status": "ok"}
        answer = http.get("/healthz", headers={"X-Amzn-Trace-Id": "trace-1"})
        assert answer.headers["x-request-id"] == "trace-1"
        assert "server" not in answer.headers
        assert "/docs" not in http.get("/docs").text


def test_cards_are_checked_for_users_alone(running, monkeypatch) -> None:
    good = {"content": "---\nlicense: mit\n---\n", "repoType": "model"}
    bad = {"content": "---\n- a\n---\n"}
    with running.http() as http:
        assert http.post("/api/validate-yaml", json=good).json() == {"errors": [], "warnings": []}
        answer = http.post("/api/validate-yaml", json=bad)
        assert (answer.status_code, len(answer.json()["errors"])) == (400, 1)
        plain = http.post("/api/validate-yaml", json=bad, headers={"Accept": "text/plain"})
        assert (plain.status_code, plain.text[:23]) == (400, "- Error: The metadata m")
        long = {"content": "---\nx:\n" + "- [a,b]\n" * 20_000 + "---\n"}
        answer = http.post("/api/validate-yaml", json=long)
        assert (answer.status_code, "65,536 bytes" in answer.text) == (400, True)
    with running.http("anonymous") as http:  # as `ModelCard.validate` asks
        monkeypatch.setattr("fin_qlora_hub.routes.misc.parse_metadata", pytest.fail)
        answer = http.post("/api/validate-yaml", json=bad)
        assert (answer.status_code, answer.json()["errors"]) == (200, [])
        assert "not checked" in answer.text


def test_names_that_addresses_use_are_refused(http) -> None:
    for name in ("resolve", "tree", "blob", "raw", "commit"):
        answer = http.post("/api/repos/create", json={"name": name})
        assert (answer.status_code, "reserved" in answer.json()["error"]) == (400, True)


def test_an_id_with_a_namespace_is_tried_first(http, api, repository) -> None:
    # as a repository of this name, made before it was reserved, would need
    api.upload_file(path_or_fileobj=b"x", path_in_repo="f", repo_id=repository)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fin_qlora_hub.repositories.repository.check_repository_name", str)
        api.create_repo("alice/resolve")
    assert http.get("/alice/resolve/resolve/main/.gitattributes").status_code == 200
    api.delete_repo("alice/resolve")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"nonsense\n", 400),
        (file_line("f"), 400),
        (HEADER + HEADER, 400),
        (HEADER + file_line("f", content="e A=="), 400),
        (HEADER + file_line("f", encoding="utf-8"), 400),
        (HEADER + b'{"key":"file","value":{"path":"f","encoding":"base64"}}', 400),
        (HEADER + b'{"key":"deletedFile","value":{"path":"f","content":"eA=="}}', 400),
        (HEADER + b'{"key":"what","value":{}}', 400),
        (HEADER + b'{"key":"lfsFile","value":{"path":"f","algo":"md5","oid":"0"}}', 400),
        (b'{"key":"header","value":{"summary":""}}\n', 400),
        (b'{"key":"header","value":{"summary":"a\\u0000b"}}\n', 400),
        (b'{"key":"header","value":{"summary":"\\ud800"}}\n', 400),
        (HEADER + file_line("good") + file_line("../f"), 422),
        (HEADER + file_line("good") + file_line(".git/config"), 422),
        (HEADER + file_line("f") + file_line("f/g"), 422),
        (HEADER + file_line("Readme") + file_line("README"), 422),
        (HEADER + file_line("a/x") + file_line("A/y"), 422),
        (HEADER + file_line("good") + b'{"key":"deletedFile","value":{"path":"missing"}}', 404),
        (HEADER + b'{"key":"copyFile","value":{"path":"a","srcPath":"missing"}}', 404),
    ],
)
def test_a_bad_commit_moves_nothing(http, api, running, repository, body, status) -> None:
    before = stored_files(running)
    answer = http.post(f"/api/models/{repository}/commit/main", content=body)
    assert answer.status_code == status
    assert answer.headers["x-error-code"]
    assert api.list_repo_files(repository) == [".gitattributes"]
    assert stored_files(running) == before


def stored_files(running) -> set[str]:
    return contents_of(running.hub.settings).everything()


def test_evil_paths_are_refused_before_bytes_move(http, repository) -> None:
    body = {"files": [{"path": "a/../b", "size": 1, "sample": ""}]}
    answer = http.post(f"/api/models/{repository}/preupload/main", json=body)
    assert answer.status_code == 422


def test_limits(start_hub, tmp_path) -> None:
    limits = {
        "max_file_bytes": 1000,
        "max_commit_bytes": 20_000,
        "max_request_bytes": 2000,
        "max_operations": 3,
        "max_line_bytes": 500,
    }
    with start_hub(tmp_path / "data", **limits) as hub, hub.http() as http:
        hub.api().create_repo("alice/a")
        commit = "/api/models/alice/a/commit/main"
        for content in (
            HEADER + file_line("f", content="QUJD" * 400),
            HEADER + b"".join(file_line(f"f{n}") for n in range(4)),
            HEADER + file_line("f" * 600),
            HEADER + b" " * 20_000,
        ):
            assert http.post(commit, content=content).status_code == 413
            assert http.post(commit, content=iter([content])).status_code == 413
        assert http.post(commit, content=HEADER + file_line("f")).status_code == 200
        announced = {"files": [{"path": "f", "size": 1001}]}
        answer = http.post("/api/models/alice/a/preupload/main", json=announced)
        assert answer.status_code == 413
        assert http.post("/api/repos/create", json={"name": "x" * 3000}).status_code == 413
        chunks = iter([b'{"name": "', b"x" * 3000, b'"}'])
        answer = http.post("/api/repos/create", content=chunks)
        assert answer.status_code == 413
        assert sorted(hub.api().list_repo_files("alice/a")) == [".gitattributes", "f"]


def test_public_url_with_a_prefix(running, repository, monkeypatch) -> None:
    from starlette.testclient import TestClient

    from fin_qlora_hub.app import create_app

    settings = running.hub.settings.model_copy(update={"public_url": "https://bank.example/hub"})
    hub = replace(running.hub, settings=settings)
    token = {"Authorization": f"Bearer {running.tokens['alice']}"}
    client = TestClient(create_app(hub), headers=token)
    answer = client.get("/hub/api/models?limit=1")
    assert answer.links["next"]["url"].startswith("https://bank.example/hub/api/models?limit=1&")
    body = HEADER + file_line("f")
    commit = client.post(f"/hub/api/models/{repository}/commit/main", content=body).json()
    assert commit["commitUrl"].startswith(f"https://bank.example/hub/{repository}/commit/")


def test_a_cut_connection_leaves_nothing(running, repository, api) -> None:
    before = stored_files(running)
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST /api/models/{repository}/commit/main HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {running.tokens['alice']}\r\n"
            "Content-Length: 100000\r\n\r\n".encode()
            + HEADER
            + file_line("whole")
            + file_line("half", content="QUJD" * 1000)[:3000]
        )
    assert wait_until(lambda: stored_files(running) == before)
    assert api.list_repo_files(repository) == [".gitattributes"]
