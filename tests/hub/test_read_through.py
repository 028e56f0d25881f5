"""What may be mirrored comes when somebody reads it, by the hub's own identity and never half."""

import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))
from unfriendly_upstream import OID, send, send_json, unfriendly_upstream
from waiting import wait_until

from fin_qlora_hub.access.identity import Role, create_token, grant
from fin_qlora_hub.access.reach import Reach
from fin_qlora_hub.access.visibility import Kind, RepositoryName
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import Search, find
from fin_qlora_hub.care.checking import check, scrub
from fin_qlora_hub.mirrors import fetching, reading_through
from fin_qlora_hub.mirrors.following import list_followed
from fin_qlora_hub.mirrors.mirroring import Mirroring

WEIGHTS = random.Random(9).randbytes(3_000_000)
FILE = f"/lab/base/resolve/{OID}"
API = "/api/models/lab/base"
WEIGHTS_AT = f"{FILE}/model.safetensors"
CONFIG_HERE = "/lab/base/resolve/main/config.json"
WEIGHTS_HERE = "/lab/base/resolve/main/model.safetensors"


@pytest.fixture(autouse=True)
def hasty(monkeypatch) -> None:
    """Wait for nothing longer than a test should."""
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(reading_through, "PASSING_SECONDS", 0.2)


@pytest.fixture
def there():
    with unfriendly_upstream() as server:
        server.add("config.json", b'{"model_type": "llama"}')
        server.add("model.safetensors", WEIGHTS, large=True)
        yield server


@pytest.fixture
def mirroring(there, start_hub, tmp_path):
    """Start a hub that mirrors `lab/*` for everyone: `with mirroring() as here`."""

    def start(**options: object):
        settings = {
            "mirror_upstream": there.url,
            "mirror_token": "upstream-secret",
            "mirror_allow": "lab/*,datasets/lab/*",
            "mirror_readers": "everyone",
            "outgoing_networks": "127.0.0.0/8",
        }
        return start_hub(tmp_path / "here", **{**settings, **options})

    return start


@pytest.fixture
def here(mirroring):
    with mirroring() as hub:
        yield hub


@contextmanager
def held_back(there, *, after: int):
    """Send the first bytes of the weights, and the rest once the block ends."""
    go_on = threading.Event()

    def halfway(request) -> bool:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        request.send_response(206 if start else 200)
        request.send_header("Content-Range", f"bytes {start}-{len(WEIGHTS) - 1}/{len(WEIGHTS)}")
        request.send_header("Content-Length", str(len(WEIGHTS) - start))
        request.end_headers()
        request.wfile.write(WEIGHTS[start:after])
        request.wfile.flush()
        go_on.wait(30)
        request.wfile.write(WEIGHTS[max(start, after) :])
        return True

    there.instead[WEIGHTS_AT] = halfway
    try:
        yield go_on
    finally:
        go_on.set()


def sound(hub) -> bool:
    return list(check(hub.hub)) == list(scrub(hub.hub)) == []


def test_it_comes_when_it_is_read(there, here, tmp_path) -> None:
    carol = here.api("carol")
    folder = carol.snapshot_download("lab/base", cache_dir=tmp_path / "a")
    assert (tmp_path / "a" / folder / "model.safetensors").read_bytes() == WEIGHTS
    info = carol.model_info("lab/base", files_metadata=True)
    assert (info.id, info.sha) == ("lab/base", OID)
    assert [s.blob_id for s in info.siblings] == [
        here.api().get_paths_info("lab/base", s.rfilename)[0].blob_id for s in info.siblings
    ]
    assert wait_until(lambda: not list(here.hub.settings.mirror_path.iterdir()))
    assert sound(here)
    # every request was the hub's own, and what is here is not asked for again
    assert {headers["authorization"] for _, headers in there.requests} == {"Bearer upstream-secret"}
    secrets = here.tokens.values()
    assert not [s for s in secrets for request in there.requests if s in str(request)]
    there.requests.clear()
    assert here.api("bob").snapshot_download("lab/base", cache_dir=tmp_path / "b")
    assert there.requests == []
    # and it is on record whose wish it was
    with here.hub.database.reading() as session:
        (made,) = find(session, Search(act=Act.REPOSITORY_MIRRORED))
    assert made["actor"] == "carol"


def test_only_headers_never_wait(there, here) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def late(request) -> bool:
        asked.set()
        go_on.wait(30)
        return False

    there.instead[f"{API}/revision/main"] = late
    with here.http() as http:
        for _ in range(3):
            began = time.monotonic()
            answer = http.head(CONFIG_HERE)
            assert time.monotonic() - began < 2
            assert (answer.status_code, answer.headers["x-error-code"]) == (503, "Busy")
            assert "being fetched" in answer.headers["x-error-message"]
        assert asked.wait(20)
        with ThreadPoolExecutor(1) as pool:  # whoever reads waits
            info = pool.submit(http.get, API)
            assert not info.done()
            go_on.set()
            assert info.result().json()["sha"] == OID
        answer = http.head(WEIGHTS_HERE)
        assert answer.headers["x-repo-commit"] == OID
        assert answer.headers["content-length"] == str(len(WEIGHTS))
    assert len(there.asked("revision/main")) == 1
    assert there.asked("model.safetensors") == []  # nobody has downloaded it


def test_what_may_not_be_mirrored_is_answered_as_ever(there, here, tmp_path) -> None:
    for name in ("absent/base", "labs/base", "lab2/base"):
        with pytest.raises(GatedRepoError, match="not on this hub, or"):
            here.api().hf_hub_download(name, "config.json", cache_dir=tmp_path)
        assert not here.api().repo_exists(name)
    with here.http("anonymous") as http:
        assert http.get(API).status_code == 401
        assert http.get(CONFIG_HERE).status_code == 401
    assert there.requests == []


def test_only_those_have_it_fetched_who_may_read_it(there, mirroring, tmp_path) -> None:
    with mirroring(mirror_readers="granted") as here:
        for caller in ("alice", "bob"):
            with pytest.raises(GatedRepoError, match="not on this hub, or"):
                here.api(caller).hf_hub_download("lab/base", "config.json", cache_dir=tmp_path)
            with pytest.raises(RepositoryNotFoundError):
                here.api(caller).model_info("lab/base")
        assert there.requests == []
        with here.hub.database.writing() as session:
            grant(session, "lab", "bob", role=Role.READ)
        assert here.api("bob").model_info("lab/base").sha == OID
        for path in (API, f"{API}/tree/main", WEIGHTS_HERE, CONFIG_HERE):
            with here.http("alice") as http:
                hidden = http.get(path)
                absent = http.get(path.replace("lab/base", "lab/none"))
            assert hidden.status_code == absent.status_code in (403, 404)
            assert hidden.text == absent.text


def test_everyone_reads_along_while_it_comes_once(there, mirroring, start_hub, tmp_path) -> None:
    options = {"database_url": None}
    with (
        mirroring(**options) as here,
        start_hub(tmp_path / "here", tokens=here.tokens, **here_options(here)) as second,
        here.http() as http,
    ):
        assert http.get(API).json()["sha"] == OID
        with held_back(there, after=2_000_000) as go_on, ThreadPoolExecutor(8) as pool:
            first_bytes = threading.Semaphore(0)

            def download(hub) -> bytes:
                with (
                    httpx.Client(headers=http.headers, timeout=30) as client,
                    client.stream("GET", hub.url + WEIGHTS_HERE) as answer,
                ):
                    assert answer.status_code == 200
                    got = b""
                    for piece in answer.iter_raw():
                        if not got:
                            first_bytes.release()
                        got += piece
                    return got

            running = [pool.submit(download, hub) for hub in (here, second) * 4]
            for _ in running:  # all get bytes while the other hub still sends
                assert first_bytes.acquire(timeout=20)
            part = http.get(WEIGHTS_HERE, headers={"Range": "bytes=0-99"})
            assert part.status_code == 503  # not before it has proved right
            assert "retry-after" in part.headers
            go_on.set()
            assert {f.result() for f in running} == {WEIGHTS}
        assert len(there.asked("model.safetensors")) == 1
        assert wait_until(lambda: http.get(WEIGHTS_HERE, headers={"Range": "bytes=5-9"}).is_success)
        part = http.get(WEIGHTS_HERE, headers={"Range": "bytes=5-9"})
        assert part.content == WEIGHTS[5:10]
        assert wait_until(lambda: sound(here))


def here_options(hub) -> dict[str, object]:
    """Return what another server needs to serve the same hub."""
    settings = hub.hub.settings
    keep = ("upstream", "allow", "readers", "token")
    return {
        "database_url": settings.database_url,
        "outgoing_networks": "127.0.0.0/8",
        **{f"mirror_{name}": getattr(settings, f"mirror_{name}") for name in keep},
    }


def test_a_broken_download_goes_on(there, here) -> None:
    with here.http() as http:
        http.get(API)
        with held_back(there, after=1_000_000), http.stream("GET", WEIGHTS_HERE) as answer:
            assert next(answer.iter_raw())  # and the reader goes away
        answer = http.get(WEIGHTS_HERE, headers={"Range": "bytes=1000000-"})
        assert answer.status_code == 206
        assert answer.content == WEIGHTS[1_000_000:]
        assert len(there.asked("model.safetensors")) == 1


def test_another_server_goes_on_where_one_was_killed(there, here, served, monkeypatch) -> None:
    settings = here.hub.settings
    for name, value in {
        "MIRROR_UPSTREAM": there.url,
        "MIRROR_ALLOW": "lab/*",
        "MIRROR_READERS": "everyone",
        "OUTGOING_NETWORKS": "127.0.0.0/8",
        "MIRROR_TOKEN": "upstream-secret",
    }.items():
        monkeypatch.setenv(f"FIN_QLORA_HUB_{name}", value)
    if settings.database_url is not None:
        monkeypatch.setenv("FIN_QLORA_HUB_DATABASE_URL", settings.database_url.get_secret_value())

    def size() -> int:
        return sum(path.stat().st_size for path in settings.mirror_path.iterdir())

    with held_back(there, after=1_000_000), here.http() as http, ThreadPoolExecutor(1) as pool:
        http.get(API)
        with served(settings.data_dir) as (process, url):
            begun = httpx.stream("GET", url + WEIGHTS_HERE, headers=http.headers, timeout=30)
            with begun as answer:
                pieces = answer.iter_raw()
                assert next(pieces)
                assert wait_until(lambda: size() == 1_000_000)
                along = pool.submit(got, http)  # at the server that does not fetch it
                assert not along.done()
                process.kill()
                there.instead.clear()
                with pytest.raises(httpx.RemoteProtocolError):
                    list(pieces)
        assert along.result() == WEIGHTS
    assert wait_until(lambda: sound(here))
    ranges = [headers.get("range") for headers in there.asked("model.safetensors")]
    assert ranges == [None, "bytes=1000000-"]


def test_servers_that_share_no_disk(
    there, mirroring, start_hub, moto, postgresql, tmp_path
) -> None:
    """Contents lie in a bucket: each server fetches for its own readers, and one keeps it."""
    options = {"database_url": postgresql.new_database(), **moto.settings(moto.new_bucket())}
    with (
        mirroring(**options) as here,
        start_hub(
            tmp_path / "other", tokens=here.tokens, **{**here_options(here), **options}
        ) as other,
        here.http() as http,
        other.http("bob") as elsewhere,
    ):
        assert http.get(API).json()["sha"] == elsewhere.get(API).json()["sha"] == OID
        with held_back(there, after=1_000_000) as go_on, ThreadPoolExecutor(2) as pool:
            running = [pool.submit(got, one) for one in (http, elsewhere)]
            assert wait_until(lambda: len(there.asked("model.safetensors")) == 2)
            go_on.set()
            assert {f.result() for f in running} == {WEIGHTS}
        assert wait_until(lambda: sound(here))
        assert wait_until(lambda: http.get(WEIGHTS_HERE).status_code == 302)  # to the bucket
        assert other.api().snapshot_download("lab/base", cache_dir=tmp_path / "cache")
        for hub in (here, other):
            assert wait_until(lambda hub=hub: not list(hub.hub.settings.mirror_path.iterdir()))


def test_wrong_bytes_never_arrive_whole(there, here, tmp_path) -> None:
    wrong = WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1])
    there.instead[WEIGHTS_AT] = lambda request: send(request, wrong)
    with here.http() as http:
        http.get(API)
        with pytest.raises(httpx.RemoteProtocolError):
            http.get(WEIGHTS_HERE)
        del there.instead[WEIGHTS_AT]
        assert wait_until(lambda: got(http) == WEIGHTS)
    assert wait_until(lambda: sound(here))


def got(http) -> bytes | None:
    try:
        answer = http.get(WEIGHTS_HERE)
    except httpx.RemoteProtocolError:
        return None
    return answer.content if answer.is_success else None


def test_what_others_have_is_not_given_for_a_hash(there, here) -> None:
    """The other hub claims to have a file of alice's, by its hash alone."""
    secret = random.Random(3).randbytes(2_000_000)
    here.api().create_repo("alice/secret")
    here.api().upload_file(path_or_fileobj=secret, path_in_repo="s.bin", repo_id="alice/secret")
    there.add("s.bin", secret, large=True)
    there.instead[f"{FILE}/s.bin"] = lambda request: send(request, b"", status=404)
    with here.http("carol") as http:
        assert http.get(API).json()["sha"] == OID
        with pytest.raises(httpx.RemoteProtocolError):
            http.get("/lab/base/resolve/main/s.bin")


def test_the_other_hub_is_away(there, here, monkeypatch) -> None:
    carol = here.api("carol")
    assert carol.model_info("lab/base").sha == OID
    for place in (f"{API}/revision/main", f"{API}/revision/v2", WEIGHTS_AT):
        there.instead[place] = lambda request: send(request, b"", status=503)
    monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    assert carol.model_info("lab/base").sha == OID
    with here.http() as http:
        with pytest.raises(httpx.RemoteProtocolError):
            http.get(WEIGHTS_HERE)
        answer = http.get(f"{API}/revision/v2")
        assert (answer.status_code, answer.headers["x-error-code"]) == (403, "GatedRepo")
        assert "answers 503" in answer.json()["error"]
        there.instead.clear()
        assert wait_until(lambda: got(http) == WEIGHTS)


def test_a_hub_that_stops_waits_for_nobody(there, mirroring) -> None:
    with held_back(there, after=1_000_000), mirroring() as here, here.http() as http:
        http.get(API)
        with http.stream("GET", WEIGHTS_HERE) as answer:
            assert next(answer.iter_raw())
        began = time.monotonic()
        here.hub.mirror.close()
        assert time.monotonic() - began < 5
        assert len(there.asked("model.safetensors")) == 1


def test_names_are_written_as_they_are_there(there, mirroring) -> None:
    for path in (f"{API}/revision/main", "/api/models/LAB/BASE/revision/main"):
        there.instead[path] = lambda r: send_json(r, {"id": "Lab/Base", "sha": OID})
    for path in [f"{API}/refs", f"{API}/tree/{OID}", f"{API}/commits/{OID}"]:
        written = path.replace("lab/base", "Lab/Base")
        there.instead[written] = lambda r, path=path: answer_as(there, r, path)
    there.instead[f"/Lab/Base/resolve/{OID}/config.json"] = lambda request: send(
        request, there.files["config.json"]
    )
    with mirroring(mirror_allow="LAB/b*") as here:
        assert here.api().model_info("LAB/BASE").id == "Lab/Base"
        assert here.api().model_info("lab/base").id == "Lab/Base"


def answer_as(there, request, path: str) -> bool:
    """Answer as if another path had been asked for."""
    request.path = path
    there.answer(request)
    return True


def test_refusals_count_for_a_while(there, here, monkeypatch) -> None:
    with here.http() as http:
        for _ in range(5):
            answer = http.get("/api/models/lab/none")
            assert (answer.status_code, answer.headers["x-error-code"]) == (404, "RepoNotFound")
            assert http.head("/lab/none/resolve/main/config.json").status_code == 403
            # what a client asks of a model that it has in its cache
            folder = http.get("/api/models/lab/none/tree/main/additional_chat_templates")
            assert folder.headers["x-error-code"] == "EntryNotFound"
    assert len(there.asked("/none/")) == 1
    assert not here.api().repo_exists("lab/none")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_was_closed_there_stays_here(there, mirroring, status) -> None:
    with mirroring(mirror_fresh_seconds=0) as here:
        assert here.api().model_info("lab/base").sha == OID
        there.instead[f"{API}/revision/main"] = lambda request: send(
            request, b"{}", status=status, headers={"X-Error-Code": "GatedRepo"}
        )
        assert here.api().model_info("lab/base").sha == OID

        def problem() -> str:
            with here.hub.database.reading() as session:
                return list_followed(session)[0].problem or ""

        assert wait_until(lambda: f"answers {status} GatedRepo" in problem())
        assert here.api("carol").model_info("lab/base").sha == OID


def test_branches_are_looked_up_behind_the_readers_back(there, mirroring) -> None:
    with mirroring(mirror_fresh_seconds=0) as here:
        api = here.api()
        assert api.model_info("lab/base").sha == OID
        there.oid = "d" * 40
        there.add("new.txt", b"new")
        assert wait_until(lambda: api.model_info("lab/base").sha == there.oid)
        assert "new.txt" in api.list_repo_files("lab/base")
        assert "new.txt" not in api.list_repo_files("lab/base", revision=OID)
        asked = len(there.asked("model.safetensors"))
        assert asked == 0


@pytest.mark.parametrize("asked", ["refs/tags/main", f"refs/heads/{OID}", "refs/heads/refs/pr/1"])
def test_no_reader_makes_up_a_branch_or_tag(there, here, asked) -> None:
    """Who asks by a full name is not answered by a commit or a branch of that last name."""
    assert here.api().model_info("lab/base").sha == OID
    with pytest.raises(HfHubHTTPError):
        here.api().model_info("lab/base", revision=asked)
    found = here.api().list_repo_refs("lab/base")
    assert [branch.ref for branch in found.branches] == ["refs/heads/main"]
    assert found.tags == []
    assert here.api().model_info("lab/base", revision="refs/heads/main").sha == OID


def test_a_limited_token_has_nothing_fetched_beyond_it(there, here, tmp_path) -> None:
    with here.hub.database.writing() as session:
        secrets = [
            create_token(session, "carol", name=name, role=Role.READ, reach=Reach.of([name]))
            for name in ("desk", "lab")
        ]
    elsewhere, within = (HfApi(endpoint=here.url, token=secret) for secret in secrets)
    with pytest.raises(RepositoryNotFoundError):
        elsewhere.model_info("lab/base")
    assert there.requests == []
    assert within.model_info("lab/base").sha == OID
    assert elsewhere.model_info("lab/base").sha == OID  # what is here and public is for all


def test_within_the_time_nobody_looks_up(there, here) -> None:
    api = here.api()
    assert api.model_info("lab/base").sha == OID
    there.oid = "d" * 40
    there.requests.clear()
    for _ in range(5):
        assert api.model_info("lab/base").sha == OID
    assert there.requests == []


def test_commits_by_their_ids(there, here, tmp_path) -> None:
    """A pinned commit comes by itself, and a branch that nobody mirrored is not made up of it."""
    api = here.api()
    there.instead[f"{API}/revision/{OID}"] = lambda r: send_json(r, {"id": "lab/base", "sha": OID})
    path = api.hf_hub_download("lab/base", "config.json", revision=OID, cache_dir=tmp_path)
    assert f"/snapshots/{OID}/" in path
    there.oid = "d" * 40
    assert wait_until(lambda: api.model_info("lab/base").sha == there.oid)
    assert api.model_info("lab/base", revision=OID).sha == OID
    with pytest.raises(HfHubHTTPError):
        api.model_info("lab/base", revision="e" * 40)


def test_one_that_was_added_whole_moves_when_it_is_told_to(there, mirroring) -> None:
    with mirroring(mirror_fresh_seconds=0) as here:
        hub = here.hub
        by_command = Mirroring(hub.settings, hub.database, hub.storage)
        name = RepositoryName(Kind.MODEL, "lab", "base")
        assert here.api().model_info("lab/base").sha == OID  # its weights are still to come
        by_command.take(name, "main", whole=True)
        assert len(there.asked("model.safetensors")) == 1
        with here.hub.database.reading() as session:
            assert [(one.whole, one.missing) for one in list_followed(session)] == [(True, 0)]
        there.oid = "d" * 40
        there.requests.clear()
        for _ in range(3):
            assert here.api().model_info("lab/base").sha == OID
        assert there.requests == []
        assert by_command.take(name, "main", whole=False).commit == there.oid
        assert here.api().model_info("lab/base").sha == there.oid


def test_what_is_not_all_here_is_not_passed_on(there, here) -> None:
    here.api().model_info("lab/base")
    with here.http() as http:
        answer = http.post(f"{API}/duplicate", json={"repository": "alice/mine"})
        assert answer.status_code == 503
        assert "mirror add lab/base" in answer.json()["error"]
        answer = http.get(f"{API}/safetensors-metadata/model.safetensors")
        assert answer.status_code == 503
        assert got(http) == WEIGHTS
        assert wait_until(lambda: sound(here))
        answer = http.post(f"{API}/duplicate", json={"repository": "alice/mine"})
        assert answer.status_code == 200
    assert here.api().model_info("alice/mine").sha == OID


def test_limits_are_told(there, mirroring) -> None:
    with mirroring(mirror_total_bytes=1_000_000) as here, here.http() as http:
        assert http.get(API).json()["sha"] == OID  # the small files have room
        with pytest.raises(httpx.RemoteProtocolError):
            http.get(WEIGHTS_HERE)
        assert there.asked("model.safetensors") == []


def test_too_much_at_once_is_told(there, mirroring) -> None:
    there.add("other.bin", WEIGHTS[:2_000_000], large=True)
    with mirroring(mirror_downloads=1) as here, here.http() as http:
        http.get(API)
        with held_back(there, after=1_000_000), http.stream("GET", WEIGHTS_HERE) as answer:
            assert next(answer.iter_raw())
            busy = http.get("/lab/base/resolve/main/other.bin")
            assert (busy.status_code, busy.headers["x-error-code"]) == (503, "Busy")
        assert wait_until(lambda: http.get("/lab/base/resolve/main/other.bin").is_success)
