"""What another hub says is not believed, and whatever it does, nothing half-taken is seen."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))
from unfriendly_upstream import OID, send, send_json, unfriendly_upstream
from waiting import wait_until

from fin_qlora_hub.access.identity import find_namespace
from fin_qlora_hub.access.visibility import Kind, RepositoryName
from fin_qlora_hub.care.checking import check, scrub
from fin_qlora_hub.contents.reserving import set_quota
from fin_qlora_hub.errors import QuotaExceededError, UpstreamError
from fin_qlora_hub.metadata.quotas import UNLIMITED
from fin_qlora_hub.mirrors import fetching, upstream
from fin_qlora_hub.mirrors.following import list_followed
from fin_qlora_hub.mirrors.mirroring import Mirroring
from fin_qlora_hub.mirrors.registry import begin

BASE = RepositoryName(Kind.MODEL, "lab", "base")
WEIGHTS = random.Random(9).randbytes(3_000_000)
FILE = f"/lab/base/resolve/{OID}"
TREE = f"/api/models/lab/base/tree/{OID}"


@pytest.fixture(autouse=True)
def hasty(monkeypatch) -> None:
    """Wait for nothing longer than a test should."""
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def there():
    with unfriendly_upstream() as server:
        server.add("config.json", b'{"model_type": "llama"}')
        server.add("model.safetensors", WEIGHTS, large=True)
        yield server


@pytest.fixture
def here(there, start_hub, tmp_path):
    with start_hub(
        tmp_path / "here",
        mirror_upstream=there.url,
        mirror_token="upstream-secret",
        mirror_readers="everyone",
        outgoing_networks="127.0.0.0/8",
    ) as hub:
        yield hub


def take(hub, **changed: object):
    settings = hub.hub.settings.model_copy(update=changed)
    return Mirroring(settings, hub.hub.database, hub.hub.storage).take(BASE, "main", whole=True)


def refused(hub, match: str, **changed: object) -> None:
    with pytest.raises(UpstreamError, match=match):
        take(hub, **changed)
    assert not hub.api().repo_exists("lab/base")
    assert list(hub.api().list_models(author="lab")) == []
    assert list(check(hub.hub)) == list(scrub(hub.hub)) == []


def test_it_is_taken_where_nothing_is_wrong(there, here, tmp_path) -> None:
    assert take(here).commit == OID
    got = here.api().hf_hub_download("lab/base", "model.safetensors", cache_dir=tmp_path)
    assert Path(got).read_bytes() == WEIGHTS
    assert not list(here.hub.settings.mirror_path.iterdir())
    assert {headers["authorization"] for _, headers in there.requests} == {"Bearer upstream-secret"}


@pytest.mark.parametrize(
    ("item", "match"),
    [
        ({"size": 5}, "more than the 5 bytes"),
        ({"size": 500}, "too early"),
        ({"oid": "0" * 40}, "came with the hash"),
        ({"lfs": {"oid": "0" * 64, "size": 23}}, "came with the hash"),
        ({"size": -1}, "cannot be read"),
        ({"oid": "x"}, "cannot be read"),
        ({"size": 2**61}, "MAX_FILE_BYTES"),
        ({"path": "../config.json"}, r"'\.\.'"),
        ({"path": "/etc/passwd"}, "absolute"),
        ({"path": ".git/config"}, "belongs to git"),
        ({"path": "a\\b"}, "backslash"),
        ({"path": "e\u0301.txt"}, "not in the form"),
        ({"path": "con"}, "device"),
        ({"path": "Model.safetensors"}, "differ only in case"),
        ({"path": "model.safetensors/config"}, "both a file and a folder"),
    ],
)
def test_lists_are_not_believed(there, here, item, match) -> None:
    listed = [{**there.item("config.json"), **item}, there.item("model.safetensors")]
    there.instead[TREE] = lambda request: send_json(request, listed)
    if "path" in item:
        path = f"{FILE}/{item['path']}"
        there.instead[path] = lambda request: send(request, there.files["config.json"])
    refused(here, match)


@pytest.mark.parametrize("name", ["f" * 40, "refs/pr/1", "b" * 400, "a..b"])
def test_names_of_branches_are_not_believed(there, here, name) -> None:
    """Such a name would be read as a commit or a pull request here, or fits nowhere."""
    listed = {"branches": [{"name": name, "targetCommit": OID}]}
    there.instead["/api/models/lab/base/refs"] = lambda request: send_json(request, listed)
    mirroring = Mirroring(here.hub.settings, here.hub.database, here.hub.storage)
    with pytest.raises(UpstreamError, match="lab/base: "):
        mirroring.take(BASE, name, whole=True)
    assert not here.api().repo_exists("lab/base")


def test_one_content_has_one_size(there, here) -> None:
    """What is known here by its hash is not shown with another length."""
    liar = {**there.item("config.json"), "path": "again.json", "size": 24}
    listed = [there.item("config.json"), liar]
    there.instead[TREE] = lambda request: send_json(request, listed)
    refused(here, "one of them is wrong")
    del there.instead[TREE]
    take(here)
    there.oid = "d" * 40
    later = f"/api/models/lab/base/tree/{there.oid}"
    for path in ("config.json", "model.safetensors"):
        item = there.item(path)
        if "lfs" in item:
            item["lfs"] = {**item["lfs"], "size": 7}
        listed = [{**item, "size": 7}]
        there.instead[later] = lambda request, listed=listed: send_json(request, listed)
        with pytest.raises(UpstreamError, match="one of them is wrong"):
            take(here)
    assert here.api().model_info("lab/base").sha == OID
    assert list(check(here.hub)) == list(scrub(here.hub)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("revision/main", {"id": "lab/base", "sha": "main"}),
        ("revision/main", {"id": "lab/other", "sha": OID}),
        ("revision/main", {"id": "lab/base", "sha": OID, "disabled": True}),
        ("revision/main", []),
        ("refs", {"branches": []}),
        ("refs", {"branches": 1}),
        (f"commits/{OID}", []),
        (f"commits/{OID}", [{"id": OID, "title": "t", "date": "9999-12-31T23:59:59.999Z"}]),
        (f"commits/{OID}", [{"id": OID, "title": "t\x00", "date": "2026-01-01T00:00:00Z"}]),
        (f"tree/{OID}", {}),
    ],
)
def test_nonsense_is_told(there, here, path, value) -> None:
    there.instead[f"/api/models/lab/base/{path}"] = lambda request: send_json(request, value)
    refused(here, "cannot be read|is called|is disabled|is no branch|without a history")


def test_endless_answers_end(there, here, monkeypatch) -> None:
    monkeypatch.setattr(upstream, "MAX_JSON_BYTES", 100_000)

    def endless(request) -> bool:
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(b" " * 10_000)

    there.instead["/api/models/lab/base/refs"] = endless
    refused(here, "without end")
    del there.instead["/api/models/lab/base/refs"]
    there.instead[f"{FILE}/model.safetensors"] = endless
    refused(here, "more than the 3,000,000 bytes")
    page = {"Link": f'<{there.url}{TREE}?cursor=x>; rel="next"'}
    there.instead[TREE] = lambda request: send(request, b"[]", headers=page)
    monkeypatch.setattr(upstream, "MAX_PAGES", 5)
    refused(here, "more than")
    page["Link"] = '<http://127.0.0.1:1/api>; rel="next"'
    refused(here, "elsewhere")


def test_slow_answers_end(there, here, monkeypatch) -> None:
    monkeypatch.setattr(upstream, "SECONDS", 0.5)
    monkeypatch.setattr(upstream, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(fetching, "ATTEMPTS", 2)

    def crawl(request) -> bool:
        request.send_response(200)
        request.send_header("Content-Length", str(len(WEIGHTS)))
        request.end_headers()
        while True:
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.05)

    def never(request) -> bool:
        time.sleep(2)
        return True

    there.instead[f"{FILE}/model.safetensors"] = crawl
    refused(here, "too slowly")
    there.instead["/api/models/lab/base/refs"] = never
    refused(here, "took too long|timed out|could not be asked")


def test_failures_that_pass(there, here, monkeypatch) -> None:
    """Errors of the moment are tried again, and what came stays."""
    failures = iter(range(4))

    def at_first(request) -> bool:
        number = next(failures, None)
        if number is None:
            return False
        if number == 0:
            return send(request, b"", status=500)
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        assert start == (number - 1) * 700_000
        part = WEIGHTS[start : start + 700_000]
        request.send_response(206 if start else 200)
        request.send_header("Content-Range", f"bytes {start}-{len(WEIGHTS) - 1}/{len(WEIGHTS)}")
        request.send_header("Content-Length", str(len(WEIGHTS) - start))
        request.end_headers()
        request.wfile.write(part)
        return True

    there.instead[f"{FILE}/model.safetensors"] = at_first
    assert take(here).commit == OID
    assert list(scrub(here.hub)) == []
    assert len(there.asked("model.safetensors")) == 5


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500, 503])
def test_refusals_are_told(there, here, status, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "ATTEMPTS", 2)
    for place in ("/api/models/lab/base/revision/main", f"{FILE}/config.json"):
        there.instead = {place: lambda request: send(request, b"{}", status=status)}
        refused(here, f"answers {status}")


def test_redirects_go_where_they_may_and_without_the_token(there, here, monkeypatch) -> None:
    with unfriendly_upstream() as elsewhere:
        elsewhere.instead["/cdn"] = lambda request: send(request, WEIGHTS)
        target = {"Location": f"{elsewhere.url}/cdn"}
        moved = lambda request: send(request, b"", status=302, headers=target)  # noqa: E731
        there.instead[f"{FILE}/model.safetensors"] = moved
        refused(here, "not in FIN_QLORA_HUB_MIRROR_DOWNLOAD_HOSTS")
        assert elsewhere.requests == []
        # a list's own address may not lead away either
        there.instead["/api/models/lab/base/refs"] = moved
        refused(here, "not in FIN_QLORA_HUB_MIRROR_DOWNLOAD_HOSTS")
        del there.instead["/api/models/lab/base/refs"]
        host = elsewhere.url.removeprefix("http://")
        target["Location"] += "?signature=" + "s" * 4000  # such addresses are long
        made = take(here, mirror_download_hosts=(host,))
        assert made.commit == OID
        assert [headers.get("authorization") for _, headers in elsewhere.requests] == [None]
        target["Location"] = "file:///etc/passwd"
        there.oid = "d" * 40
    there.instead["/x"] = lambda request: send(request, b"", status=302, headers={"Location": "/x"})
    there.instead["/api/models/lab/base/revision/main"] = there.instead["/x"]
    with pytest.raises(UpstreamError, match="without end"):
        take(here)


def test_redirects_at_home_keep_the_token(there, here) -> None:
    """As the public hub sends on for small files, within itself."""
    home = {"Location": "/cache/config.json?x=1"}
    there.instead[f"{FILE}/config.json"] = lambda request: send(
        request, b"", status=307, headers=home
    )
    there.instead["/cache/config.json"] = lambda r: send(r, there.files["config.json"])
    assert take(here).commit == OID
    (asked,) = there.asked("/cache/")
    assert asked["authorization"] == "Bearer upstream-secret"


@pytest.mark.parametrize("answer", ["whole", "another part"])
def test_resuming_what_cannot_be_resumed(there, here, answer, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "ATTEMPTS", 2)

    def strange(request) -> bool:
        first = "Range" not in request.headers
        if not first and answer == "another part":
            part = {"Content-Range": f"bytes 5-{len(WEIGHTS) - 1}/{len(WEIGHTS)}"}
            return send(request, WEIGHTS[5:], status=206, headers=part)
        request.send_response(200)
        request.send_header("Content-Length", str(len(WEIGHTS)))
        request.end_headers()
        request.wfile.write(WEIGHTS[:1_000_000] if first else WEIGHTS)
        return True

    there.instead[f"{FILE}/model.safetensors"] = strange
    if answer == "whole":
        assert take(here).commit == OID
        assert list(scrub(here.hub)) == []
    else:
        refused(here, "sends another part")


def test_an_address_that_may_not_be_asked(there, here) -> None:
    refused(here, "asked only in the networks|no public address", outgoing_networks=())
    assert there.requests == []


def test_another_hash_at_the_end_throws_all_away(there, here) -> None:
    wrong = WEIGHTS[:-1] + b"?"
    there.instead[f"{FILE}/model.safetensors"] = lambda request: send(request, wrong)
    refused(here, "came with the hash")
    del there.instead[f"{FILE}/model.safetensors"]
    assert take(here).commit == OID
    # from its beginning: nothing of the wrong bytes was kept
    assert "range" not in there.asked("model.safetensors")[-1]


def test_contents_of_others_are_no_shortcut(there, here) -> None:
    """That this hub has some bytes of its own is no reason to show them in a mirror."""
    here.api().create_repo("alice/secret")
    secret = b"nobody else's" * 100_000
    here.api().upload_file(path_or_fileobj=secret, path_in_repo="s.bin", repo_id="alice/secret")
    there.add("s.bin", secret, large=True)
    there.instead[f"{FILE}/s.bin"] = lambda request: send(request, b"", status=404)
    refused(here, "answers 404")


def test_a_namespace_has_its_quota(there, here) -> None:
    with here.hub.database.writing() as session:
        set_quota(session, _lab(session), 2_000_000)
    with pytest.raises(QuotaExceededError, match="too many for 'lab'"):
        take(here)
    assert there.asked("resolve") == []  # before any byte
    assert not here.api().repo_exists("lab/base")
    with here.hub.database.writing() as session:
        set_quota(session, _lab(session), UNLIMITED)
    assert take(here).commit == OID


def _lab(session):
    begin(session, BASE, upstream="", whole=True)
    return find_namespace(session, "lab")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_kill_and_go_on(there, here, how) -> None:
    """A command that is killed has shown nothing; the next one fetches the rest alone."""
    there.add("first.bin", WEIGHTS[:2_000_000], large=True)
    half = 1_500_000

    def halfway(request) -> bool:
        request.send_response(200)
        request.send_header("Content-Length", str(len(WEIGHTS)))
        request.end_headers()
        request.wfile.write(WEIGHTS[:half])
        request.wfile.flush()
        time.sleep(20)
        return True

    there.instead[f"{FILE}/model.safetensors"] = halfway
    settings = here.hub.settings

    def sizes_grow_to(sizes: list[int]):
        folder = settings.mirror_path
        return lambda: [path.stat().st_size for path in folder.glob("*")] == sizes

    environment = {
        **os.environ,
        "FIN_QLORA_HUB_DATA_DIR": str(settings.data_dir),
        "FIN_QLORA_HUB_MIRROR_UPSTREAM": there.url,
        "FIN_QLORA_HUB_OUTGOING_NETWORKS": "127.0.0.0/8",
    }
    if settings.database_url is not None:
        environment["FIN_QLORA_HUB_DATABASE_URL"] = settings.database_url.get_secret_value()
    line = [sys.executable, "-m", "fin_qlora_hub", "mirror", "add", "lab/base"]
    with subprocess.Popen(line, env=environment, stderr=subprocess.PIPE) as process:
        try:
            assert wait_until(sizes_grow_to([half]))
        finally:
            process.send_signal(how)
            began = time.monotonic()
            process.wait(15)
            assert time.monotonic() - began < 10
    assert not here.api().repo_exists("lab/base")
    assert list(check(here.hub)) == []
    with here.hub.database.reading() as session:
        (begun,) = list_followed(session)
    assert (str(begun.name), begun.commit) == ("lab/base", "")
    assert begun.size >= 2_000_000
    there.instead.clear()
    there.requests.clear()
    assert take(here).commit == OID
    assert [headers["range"] for headers in there.asked("model.safetensors")] == [f"bytes={half}-"]
    assert there.asked("first.bin") == []
    assert list(check(here.hub)) == list(scrub(here.hub)) == []
    assert here.api().model_info("lab/base").sha == OID
