"""Nonsense and rudeness are the caller's mistake, never the hub's failure."""

import base64
import socket
import time

import pytest

from fin_qlora_hub.routes.problems import problem


@pytest.fixture
def http(running):
    with running.http() as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/repos/create", '{"name": "a\\ud800b"}'),
        ("/api/repos/create", '{"name": "a", "organization": "\\ud800"}'),
        ("/api/repos/create", '{"name": "a", "organization": "a\\u0000"}'),
        ("/api/repos/create", '{"name": ' + "[" * 100_000),
        ("/api/repos/create", "[]"),
        ("/api/models/{}/tag/main", '{"tag": "\\ud800"}'),
        ("/api/models/{}/tag/main", '{"tag": "a\\u0000"}'),
        ("/api/models/{}/tag/%00", '{"tag": "a"}'),
        ("/api/models/{}/branch/%ED%A0%80%00", "{}"),
        ("/api/models/{}/preupload/main", '{"files": [{"path": "\\ud800"}]}'),
        ("/api/models/{}/paths-info/main", '{"paths": 1}'),
        ("/api/models/{}/paths-info/main", "nonsense"),
        ("/api/models/%2F%00/%ff/paths-info/main", '{"paths": []}'),
        ("/api/validate-yaml", '{"content": 1}'),
    ],
)
def test_nonsense_is_the_callers_mistake(http, repository, path, body) -> None:
    headers = {"Content-Type": "application/json"}
    answer = http.post(path.format(repository), content=body.encode(), headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]


@pytest.mark.parametrize("sort", ["lastModified", "downloads"])
@pytest.mark.parametrize(
    "text",
    [
        b"[" * 20_000,
        b"[" * 140,
        b'["2020-01-01",1e999]',
        b"[1e999,1]",
        b'["2020-01-01",' + b"9" * 30 + b"]",
        b"[" + b"9" * 30 + b",1]",
        b"[" + b"9" * 5000 + b",1]",
        b'["0001-01-01T00:00:00+23:59",1]',
        b'["2020-01-01",NaN]',
        b'{"a":1}',
        b"null",
        b"\xff",
    ],
)
def test_a_cursor_of_nonsense_is_the_callers_mistake(http, sort, text) -> None:
    cursor = base64.urlsafe_b64encode(text).decode()
    answer = http.get("/api/models", params={"cursor": cursor, "sort": sort})
    assert (answer.status_code, answer.headers["x-error-code"]) == (400, "BadRequest")


def test_no_error_answer_is_long(http, repository) -> None:
    long = "a" * 30_000
    for method, path, body in [
        ("POST", f"/api/models/{repository}/preupload/main", {"files": [{"path": long}]}),
        ("POST", f"/api/models/{repository}/tag/main", {"tag": long}),
        ("POST", "/api/repos/create", {"name": long}),
        ("POST", "/api/repos/create", {"name": "a", "organization": long}),
        ("POST", "/api/repos/create", {"name": "a", "type": long}),
        ("GET", f"/api/models/{repository}/tree/main/{long}", None),
        ("GET", f"/api/models/{repository}/revision/{long}", None),
        ("GET", f"/{long}/{long[:9000]}/resolve/main/f", None),
        ("GET", f"/api/models?sort={long}", None),
        ("GET", f"/api/models?expand={long}", None),
    ]:
        answer = http.request(method, path, json=body)
        assert 400 <= answer.status_code < 500, path[:50]
        assert len(answer.headers["x-error-message"]) <= 500
        assert len(answer.content) <= 2100


def test_a_problem_is_cut_and_always_valid_text() -> None:
    answer = problem(400, "BadRequest", "\ud800" + "x" * 60_000)
    assert len(answer.headers["x-error-message"]) == 500
    assert len(answer.body) < 2100


def test_a_client_that_hangs_up_on_a_refusal_is_no_fault(running, repository, caplog) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST /api/models/{repository}/commit/main HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {running.tokens['alice']}\r\n"
            "Content-Length: 100000\r\n\r\nnonsense\n".encode()
        )
        time.sleep(0.3)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST /api/models/{repository}/paths-info/main HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {running.tokens['alice']}\r\n"
            "Content-Length: 1000\r\n\r\npaths=a".encode()
        )
    with running.http() as http:
        for _ in range(50):
            http.get("/healthz")
    assert [record for record in caplog.records if record.exc_info] == []
