"""The edge: what is no request or comes too slowly is let go, and answers guard browsers."""

import gzip
import logging
import socket
import time
from contextlib import contextmanager, suppress

import pytest
from waiting import wait_until

from fin_qlora_hub.serving import WithoutSecrets
from fin_qlora_hub.settings import Settings

GUARDS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@contextmanager
def connected(hub):
    host, port = hub.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        yield connection


def answered(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


def exchange(hub, *pieces: str) -> bytes:
    with connected(hub) as connection:
        connection.sendall("".join(pieces).encode("latin-1"))
        return answered(connection)


def head(hub, *lines: str, path: str = "/healthz", method: str = "GET") -> str:
    secret = hub.tokens["alice"]
    first = (f"{method} {path} HTTP/1.1", "Host: hub", f"Authorization: Bearer {secret}")
    first += ("Connection: close",)
    return "\r\n".join((*first, *lines)) + "\r\n\r\n"


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr("fin_qlora_hub.routes.connections.HEADER_SECONDS", 0.3)


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "G",
        "\r\n",
        "GET /healthz HTTP/1.1\r\nHost: hub\r\nX-A: ",
        "GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\nGET /healthz HTTP/1.1\r\nHo",
    ],
)
def test_a_head_that_does_not_come_is_not_waited_for(running, hasty, sent) -> None:
    with connected(running) as connection:
        begun = time.monotonic()
        connection.sendall(sent.encode())
        answered(connection)
        assert time.monotonic() - begun < 10


def test_a_head_that_trickles_is_not_waited_for(running, hasty) -> None:
    with connected(running) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: hub\r\n")

        def cut() -> bool:
            try:
                connection.sendall(b"X-A: b\r\n")
            except OSError:
                return True
            return False

        assert wait_until(cut, seconds=10)


def test_a_slow_answer_is_not_cut(running, hasty, monkeypatch) -> None:
    """The clock of the next head does not run while the last answer is made."""

    def slow(_session, _caller):
        time.sleep(1)
        return []

    monkeypatch.setattr("fin_qlora_hub.routes.identity.organizations_of", slow)
    with running.http() as http:
        assert http.get("/api/whoami-v2").status_code == 200


@pytest.mark.parametrize("path", ["/api/repos/create", "/api/models/alice/x/branch/b"])
def test_a_small_body_that_does_not_come_is_not_waited_for(running, monkeypatch, path) -> None:
    monkeypatch.setattr("fin_qlora_hub.routes.boundary.IDLE_SECONDS", 0.3)
    kind = "Content-Type: application/json"
    with connected(running) as connection:
        connection.sendall(
            head(running, kind, "Content-Length: 9", path=path, method="POST").encode()
        )
        connection.sendall(b'{"')
        assert b" 408 " in answered(connection).splitlines()[0]


def test_a_refused_body_must_end_soon(running, hasty) -> None:
    """What is answered before its body came could else be sent on for ever."""
    with connected(running) as connection:
        lines = head(running, "Transfer-Encoding: chunked", path="/nothing/at/all", method="POST")
        connection.sendall(lines.encode())

        def cut() -> bool:
            try:
                connection.sendall(b"1\r\na\r\n")
            except OSError:
                return True
            return False

        assert wait_until(cut, seconds=10)


@pytest.mark.parametrize(
    "lines",
    [
        [f"X-{n}: a" for n in range(120)],
        ["X-A: " + "a" * 140_000],
        ["X-" + "a" * 140_000 + ": b"],
    ],
)
def test_heads_have_an_end(running, lines) -> None:
    found = exchange(running, head(running, *lines))
    assert found.startswith(b"HTTP/1.1 431 ")
    assert b"x-error-code: HeadersTooLarge" in found


def test_an_address_has_an_end(running) -> None:
    found = exchange(running, head(running, path="/" + "a" * 140_000))
    assert found.startswith(b"HTTP/1.1 431 ")


def test_what_follows_a_body_has_an_end_and_counts_for_nothing(running) -> None:
    lines = head(
        running, "Transfer-Encoding: chunked", "Content-Type: application/json",
        path="/api/validate-yaml", method="POST",
    ).replace(f"Authorization: Bearer {running.tokens['alice']}\r\n", "")  # fmt: skip
    body = '{"content": "x"}'
    chunk = f"{len(body):x}\r\n{body}\r\n0\r\n"
    trailer = f"Authorization: Bearer {running.tokens['alice']}\r\n\r\n"
    found = exchange(running, lines, chunk + trailer)
    assert b"for its users alone" in found  # still a stranger
    found = exchange(running, lines, chunk, "X-A: " + "a" * 900_000)
    assert b"HTTP/1.1 431" in found or b"HTTP/1.1 400" in found


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 4"],
        ["Content-Length: 4", "Content-Length: 5"],
        ["Content-Length: 4, 4"],
        ["Content-Length: +4"],
        ["Content-Length: 0x4"],
        ["Content-Length: -1"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding : chunked"],
        [" Transfer-Encoding: chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["X-A: a\nTransfer-Encoding: chunked"],
        ["X-A: a\rb"],
        ["X-A: a\x00b"],
    ],
)
def test_a_request_that_two_servers_would_read_in_two_ways_is_refused(running, lines) -> None:
    smuggled = "0\r\n\r\nDELETE /api/repos/delete HTTP/1.1\r\nHost: hub\r\n\r\n"
    sent = head(running, *lines, path="/api/validate-yaml", method="POST")
    found = exchange(running, sent, smuggled)
    assert found.startswith(b"HTTP/1.1 4")
    assert found.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "host",
    ["a/b", "a b", "evil@hub", "a,b", "a#b", "hub:port", "hub:1:2", "", "é", "[::1", "x" * 300],
)
def test_a_host_that_is_none_is_refused(running, host) -> None:
    secret = running.tokens["alice"]
    lines = f"GET /api/models HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\n\r\n"
    assert exchange(running, lines).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("lines", ["", "Host: hub\r\nHost: evil\r\n"])
def test_one_host_must_be_named(running, lines) -> None:
    assert exchange(running, f"GET /healthz HTTP/1.1\r\n{lines}\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("host", ["hub.example", "127.0.0.1:8420", "[::1]:8420"])
def test_a_host_that_is_one_is_taken(running, host) -> None:
    found = exchange(running, f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 200 ")


def test_nothing_that_is_sent_is_unpacked(running, repository) -> None:
    """A small body could become an endless one."""
    lines = b'{"key":"header","value":{"summary":"s"}}\n' + b" " * 5_000_000
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    with running.http() as http:
        for path in (f"/api/models/{repository}/commit/main", "/api/validate-yaml"):
            answer = http.post(path, content=gzip.compress(lines), headers=headers)
            assert (answer.status_code, answer.headers["x-error-code"]) == (400, "BadRequest")


def test_no_token_is_taken_from_an_address(running, repository) -> None:
    with running.http("anonymous") as http:
        token = running.tokens["alice"]
        for name in ("token", "access_token", "api_key"):
            assert http.get(f"/api/models/{repository}?{name}={token}").status_code == 401


def test_nobody_is_believed_to_be_a_proxy(running, repository) -> None:
    """Not even a program on the same machine."""
    told = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-For": "192.0.2.7",
        "Forwarded": "host=evil.example;proto=https",
    }
    with running.http() as http:
        answer = http.get(f"/api/models/{repository}/xet-read-token/main", headers=told)
    assert answer.json()["casUrl"].startswith(running.url)


def test_a_proxy_that_is_named_is_believed(start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data", trusted_proxies="127.0.0.0/8") as hub, hub.http() as http:
        hub.api().create_repo("alice/a")
        told = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
        answer = http.get("/api/models/alice/a/xet-read-token/main", headers=told)
        place = hub.url.replace("http:", "https:")
        assert answer.json()["casUrl"].startswith(f"{place}/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trusted_proxies", "everybody"),
        ("public_url", "https://huggingface.co/x"),
        ("public_url", "http://cdn.hf.co"),
    ],
)
def test_settings_that_would_give_users_away(name, value) -> None:
    with pytest.raises(ValueError, match=name):
        Settings(**{name: value})


def test_every_answer_guards_browsers(running, repository) -> None:
    with running.http() as http, running.http("anonymous") as stranger:
        file = http.get(f"/{repository}/resolve/main/.gitattributes")
        refusal, lost = stranger.get("/api/whoami-v2"), stranger.get("/nothing")
        for answer in (file, refusal, lost, http.get("/api/models"), http.get("/healthz")):
            assert GUARDS.items() <= dict(answer.headers).items()
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            assert "server" not in answer.headers
            assert "strict-transport-security" not in answer.headers
        assert "sandbox" in file.headers["content-security-policy"]


def test_a_public_address_with_tls_stays_with_tls(start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data", public_url="https://hub.example") as hub, hub.http() as http:
        assert "max-age=31536000" in http.get("/healthz").headers["strict-transport-security"]


def test_no_other_origin_may_read(running, repository) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    with running.http() as http:
        for path in (f"/api/models/{repository}", "/api/whoami-v2", "/healthz"):
            for answer in (http.options(path, headers=asked), http.get(path, headers=asked)):
                assert not [name for name in answer.headers if name.startswith("access-control")]
            assert http.options(path, headers=asked).status_code == 405


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/metrics", "/"])
def test_no_page_tells_how_the_hub_is_made(running, path) -> None:
    with running.http("anonymous") as http:
        assert http.get(path).status_code == 404


@pytest.mark.parametrize("name", ["page.html", "image.svg", "x.xhtml", "f.js", "notes.md"])
def test_no_file_of_a_repository_runs_in_a_browser(running, repository, name) -> None:
    script = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    running.api().upload_file(path_or_fileobj=script, path_in_repo=name, repo_id=repository)
    with running.http() as http:
        answer = http.get(f"/{repository}/resolve/main/{name}")
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in ("application/octet-stream", "text/plain")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_caller_writes_lines_of_the_log(running, caplog) -> None:
    caplog.set_level(logging.INFO)
    with running.http() as http:
        http.get("/api/models/alice/a%0d%0aINFO%20forged", headers={"X-Request-Id": "a"})
        http.get("/api/models?search=a%0aforged")
    assert "forged" in caplog.text
    for record in caplog.records:
        assert "\n" not in record.getMessage()
        assert "\r" not in record.getMessage()


@pytest.mark.parametrize(
    "address",
    [
        "/lfs/upload?grant=SECRET",
        "/b/o?X-Amz-Algorithm=AWS4&X-Amz-Credential=SECRET&X-Amz-Signature=SECRET",
        "/b/o?a=1&sig=SECRET&b=2",
        "/oauth/token?code=SECRET&state=SECRET",
        "/oauth/device?user_code=SECRET",
        "/x?access_token=SECRET",
        "/x?PASSWORD=SECRET",
        "/x?client_secret=SECRET&x-amz-security-token=SECRET",
    ],
)
def test_no_log_holds_a_secret(address) -> None:
    values = ("127.0.0.1:1", "GET", address, "1.1", 200)
    record = logging.LogRecord(
        "uvicorn.access", 20, "f", 1, '%s - "%s %s HTTP/%s" %d', values, None
    )
    assert WithoutSecrets().filter(record)
    assert "SECRET" not in record.getMessage()
    assert address.partition("?")[0] in record.getMessage()


def test_the_log_still_says_what_was_asked() -> None:
    values = ("127.0.0.1:1", "GET", "/api/models?search=x&sort=downloads", "1.1", 200)
    record = logging.LogRecord(
        "uvicorn.access", 20, "f", 1, '%s - "%s %s HTTP/%s" %d', values, None
    )
    WithoutSecrets().filter(record)
    assert "search=x&sort=downloads" in record.getMessage()
