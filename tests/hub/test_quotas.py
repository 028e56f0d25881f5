"""Namespaces keep no more than they may, and are told before bytes move."""

import hashlib
import random
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError
from sqlalchemy import update

from fin_qlora_hub.access.identity import require_namespace
from fin_qlora_hub.care.checking import check
from fin_qlora_hub.contents.reserving import set_quota
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.metadata.quotas import UNLIMITED, read_size, usage
from fin_qlora_hub.metadata.tables import Repository, Reservation

WEIGHTS = random.Random(5).randbytes(60_000)
ATTRIBUTES = 181  # what every repository begins with


@pytest.fixture
def hub(start_hub, tmp_path):
    """A hub whose organization `desk` may keep 100 KB, in a repository of its own."""
    with start_hub(tmp_path / "data") as hub:
        hub.api().create_repo("desk/a")
        limit(hub, "desk", 100_000)
        yield hub
        assert [finding for finding in check(hub.hub) if "were counted" in finding] == []


def limit(hub, namespace: str, quota: int | None) -> None:
    with hub.hub.database.writing() as session:
        set_quota(session, require_namespace(session, namespace), quota)


def kept(hub, namespace: str = "desk") -> tuple[int, int]:
    with hub.hub.database.reading() as session:
        found = usage(session, require_namespace(session, namespace))
    return found.stored, found.reserved


def commit(hub, path: str, content: bytes, *, name: str = "desk/a") -> None:
    operation = CommitOperationAdd(path, content)
    hub.api().create_commit(name, [operation], commit_message=path)


def announced(hub, size: int) -> httpx.Response:
    with hub.http() as http:
        body = {"files": [{"path": "f", "size": size}]}
        return http.post("/api/models/desk/a/preupload/main", json=body)


def test_more_than_the_quota_is_refused_before_bytes_move(hub) -> None:
    begin, _ = kept(hub)
    assert begin == ATTRIBUTES
    assert announced(hub, 100_000 - begin).status_code == 200
    refused = announced(hub, 100_001 - begin)
    assert (refused.status_code, refused.headers["x-error-code"]) == (413, "QuotaExceeded")
    assert "may keep 100,000 bytes" in refused.json()["error"]
    assert "ask the administrator" in refused.json()["error"]
    with hub.http() as http:
        body = {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 100_000}]}
        answer = http.post("/desk/a.git/info/lfs/objects/batch", json=body)
        assert answer.headers["x-error-code"] == "QuotaExceeded"
    assert kept(hub) == (begin, 0)


def test_what_is_committed_counts_once_and_what_is_removed_no_more(hub) -> None:
    begin, _ = kept(hub)
    for path in ("a.txt", "b.txt"):
        commit(hub, path, b"x" * 1000)
    assert kept(hub)[0] == begin + 1000  # equal contents of one repository are one
    with pytest.raises(HfHubHTTPError, match="may keep 100,000 bytes"):
        commit(hub, "c.txt", b"y" * 99_900)
    assert hub.api().list_repo_files("desk/a") == [".gitattributes", "a.txt", "b.txt"]
    hub.api().duplicate_repo("desk/a", "desk/b")
    assert kept(hub)[0] == 2 * (begin + 1000)
    hub.api().move_repo("desk/b", "alice/b")
    assert kept(hub)[0] == begin + 1000
    assert kept(hub, "alice")[0] == begin + 1000
    hub.api().delete_repo("desk/a")
    assert kept(hub) == (0, 0)
    owned = {repo.id: repo.storage for repo in hub.api().list_user_repos("alice")}
    assert owned == {"alice/b": begin + 1000}
    assert hub.api().model_info("alice/b", expand=["usedStorage"]).used_storage == begin + 1000


def test_a_move_needs_room_too(hub) -> None:
    hub.api().create_repo("alice/big")
    commit(hub, "f", b"x" * 99_900, name="alice/big")
    with pytest.raises(HfHubHTTPError, match="may keep 100,000 bytes"):
        hub.api().move_repo("alice/big", "desk/big")
    with pytest.raises(HfHubHTTPError, match="may keep 100,000 bytes"):
        hub.api().duplicate_repo("alice/big", "desk/big")
    assert not hub.api().repo_exists("desk/big")


def test_a_commit_of_no_told_length_is_cut(hub, monkeypatch) -> None:
    monkeypatch.setattr("fin_qlora_hub.routes.upload.PIECE_BYTES", 1000)
    taken = []
    monkeypatch.setattr(
        "fin_qlora_hub.git.changes.ChangeReader.feed", lambda _self, data: taken.append(len(data))
    )

    def body():
        yield b'{"key":"header","value":{"summary":"s"}}\n{"key":"file","value":{"content":"'
        for _ in range(60):
            yield b"A" * 100_000

    with hub.http() as http:
        answer = http.post("/api/models/desk/a/commit/main", content=body())
    assert answer.headers["x-error-code"] == "QuotaExceeded"
    assert sum(taken) < 2_000_000


def test_room_for_a_large_file_is_kept_until_it_is_there(hub) -> None:
    begin, _ = kept(hub)
    objects = [{"oid": hashlib.sha256(WEIGHTS).hexdigest(), "size": len(WEIGHTS)}]
    body = {"operation": "upload", "objects": objects}
    with hub.http() as http, httpx.Client() as stranger:
        for _ in range(2):  # the same file asked for again is the same room
            planned = http.post("/desk/a.git/info/lfs/objects/batch", json=body).json()
            assert kept(hub) == (begin, len(WEIGHTS))
        other = {"operation": "upload", "objects": [{"oid": "1" * 64, "size": 50_000}]}
        assert http.post("/desk/a.git/info/lfs/objects/batch", json=other).status_code == 413
        assert announced(hub, 50_000).status_code == 413
        upload = planned["objects"][0]["actions"]["upload"]["href"]
        assert stranger.put(upload, content=WEIGHTS).status_code == 200
        assert kept(hub) == (begin + len(WEIGHTS), 0)


def test_room_that_nobody_used_comes_back(hub) -> None:
    with hub.http() as http:
        body = {"operation": "upload", "objects": [{"oid": "1" * 64, "size": 90_000}]}
        assert http.post("/desk/a.git/info/lfs/objects/batch", json=body).status_code == 200
        with hub.hub.database.writing() as session:
            past = datetime.now(UTC) - timedelta(seconds=1)
            session.execute(update(Reservation).values(ends_at=past))
        assert kept(hub)[1] == 0
        body["objects"][0]["oid"] = "2" * 64
        assert http.post("/desk/a.git/info/lfs/objects/batch", json=body).status_code == 200


def test_chunks_that_no_file_uses_count_until_one_does(hub, xet, maker) -> None:
    begin, _ = kept(hub)
    name, body = maker.xorb(WEIGHTS)
    other_name, other_body = maker.xorb(WEIGHTS[::-1])
    with xet("desk/a", hub=hub) as http:
        granted = http.post(f"/v1/xorb-grants/default/{name}", json={"length": len(body)})
        assert granted.status_code == 201
        assert kept(hub) == (begin, len(body))
        refused = http.post(f"/v1/xorbs/default/{other_name}", content=other_body)
        assert refused.headers["x-error-code"] == "QuotaExceeded"
        refused = http.post(f"/v1/xorb-grants/default/{other_name}", json={"length": len(body)})
        assert refused.headers["x-error-code"] == "QuotaExceeded"
        assert httpx.put(granted.json()["url"], content=body).status_code == 200
        assert kept(hub) == (begin, len(body))
        assert http.post("/v1/shards", content=maker.shard(maker.file(WEIGHTS))).status_code == 200
        assert kept(hub) == (begin + len(WEIGHTS), 0)


def test_a_file_of_chunks_counts_in_full(hub, xet, maker) -> None:
    """However little was sent for it: what a repository holds is what counts."""
    name, body = maker.xorb(WEIGHTS)
    hub.api().create_repo("desk/b")
    for repository, status in (("desk/a", 200), ("desk/b", 413)):
        with xet(repository, hub=hub) as http:
            http.post(f"/v1/xorbs/default/{name}", content=body)
            shard = maker.shard(maker.file(WEIGHTS))
            assert http.post("/v1/shards", content=shard).status_code == status


def test_a_file_taken_out_for_good_counts_no_more(hub) -> None:
    begin, _ = kept(hub)
    commit(hub, "w.bin", WEIGHTS)
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    with hub.http() as http:
        body = {"deletions": {"sha": [sha256], "rewriteHistory": True}}
        assert http.post("/api/models/desk/a/lfs-files/batch", json=body).status_code == 200
    assert kept(hub)[0] == begin


def test_quotas_of_the_server_and_of_a_namespace(start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data", quota_bytes=10_000) as hub:
        hub.api().create_repo("desk/a")
        hub.api().create_repo("alice/a")
        with hub.http() as http:
            one = http.get("/api/organizations/desk/settings/repositories").json()[0]
        assert one["storage"] == ATTRIBUTES
        assert one["storagePercent"] == 100 * ATTRIBUTES / 10_000
        limit(hub, "desk", UNLIMITED)
        commit(hub, "f", b"x" * 20_000)
        with pytest.raises(HfHubHTTPError, match="may keep 10,000 bytes"):
            commit(hub, "f", b"x" * 20_000, name="alice/a")
        limit(hub, "desk", None)
        assert announced(hub, 1).status_code == 413
        hub.api().delete_files("desk/a", delete_patterns=["f"])  # what takes nothing may happen


def test_a_wrong_sum_is_found(start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data") as hub:
        hub.api().create_repo("alice/a")
        with hub.hub.database.writing() as session:
            session.execute(update(Repository).values(stored_bytes=1))
        assert "holds 181 bytes, not the 1 that were counted" in "".join(check(hub.hub))


def test_the_commands(command, start_hub, tmp_path, at) -> None:
    with start_hub(tmp_path / "data") as hub:
        at(hub)
        hub.api().create_repo("desk/a")
        assert command("quota", "set", "DESK", "1kB").stdout == "The quota of desk is now 1kB.\n"
        assert "desk  181  0  1000\n" in command("quota", "list").stdout
        assert announced(hub, 1000).status_code == 413
        assert command("quota", "set", "desk", "unlimited").returncode == 0
        assert announced(hub, 1000).status_code == 200
        assert command("quota", "set", "desk", "much").returncode == 2
        assert command("quota", "set", "nobody", "1GB").returncode == 5
        assert '"quota.changed"' in command("audit", "list", "--format=json").stdout


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500", 500),
        ("50GB", 50 * 10**9),
        ("1.5 TiB", 3 * 2**39),
        ("2k", 2000),
        ("Unlimited", UNLIMITED),
        ("default", None),
    ],
)
def test_sizes(text, size) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "GB", "1XB", "1e9", "99999999999PB", "1 000"])
def test_what_is_no_size(text) -> None:
    with pytest.raises(BadRequestError):
        read_size(text)


@pytest.mark.parametrize("way", ["xet", "lfs", "commit"])
def test_who_may_only_propose_leaves_half_to_the_owner(hub, way, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", way == "lfs")
    hub.api().update_repo_settings("desk/a", visibility="public")
    suffix = "txt" if way == "commit" else "bin"

    def send(caller: str, size: int, **options: object) -> None:
        content = random.Random(size).randbytes(size) if suffix == "bin" else b"x" * size
        operation = CommitOperationAdd(f"{size}.{suffix}", content)
        hub.api(caller).create_commit("desk/a", [operation], commit_message="m", **options)

    send("carol", 40_000, create_pr=True)
    before = kept(hub)[0]
    for _ in range(2):
        with pytest.raises(HfHubHTTPError, match="may not write there fill no more than 50,000"):
            send("carol", 30_000, create_pr=True)
    with pytest.raises(HfHubHTTPError, match="may not write there fill no more than 50,000"):
        send("carol", 30_001, revision="refs/pr/1")
    assert kept(hub)[0] == before
    send("alice", 50_000)
    assert kept(hub)[0] > 90_000
