"""A hub that was lost comes back from its backup, on either database, and what is lost is named."""

import json
import random
import shutil
import threading
from datetime import UTC, datetime

import pytest
from contents import contents_of, hash_of
from filling import fill
from sqlalchemy import func, select

from fin_qlora_hub.care.backup import _write_manifest, back_up, find_snapshot
from fin_qlora_hub.care.checking import check, scrub
from fin_qlora_hub.care.collecting import collect
from fin_qlora_hub.care.restoring import restore
from fin_qlora_hub.errors import AlreadyExistsError, NotFoundError, UnusableDataError
from fin_qlora_hub.hub import open_hub
from fin_qlora_hub.metadata.database import make_engine
from fin_qlora_hub.metadata.locking import collection_lock
from fin_qlora_hub.metadata.schema import migrate
from fin_qlora_hub.metadata.snapshots import write_rows
from fin_qlora_hub.metadata.tables import Base, Namespace, StoredFile
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.webhooks.delivering import Outcome, settle, spread


def some_bytes(size: int, *, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


WEIGHTS = some_bytes(1_200_000, seed=21)


@pytest.fixture
def filled(start_hub, tmp_path):
    """A running hub with something in every table that a client fills."""
    with start_hub(tmp_path / "data") as hub:
        api = hub.api()
        api.create_repo("desk/a")
        api.upload_file(path_or_fileobj=WEIGHTS, path_in_repo="w.bin", repo_id="desk/a")
        card = "---\nlicense: mit\n---\nä\x1f".encode()
        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="desk/a")
        told = b"- {dataset: {id: desk/bench, task_id: t}, value: 1}"
        path = ".eval_results/r.yaml"
        api.upload_file(path_or_fileobj=told, path_in_repo=path, repo_id="desk/a")
        api.create_tag("desk/a", tag="v1", tag_message="the first")
        shelf = api.create_collection("shelf", namespace="desk")
        api.add_collection_item(shelf.slug, "desk/a", "model")
        api.create_discussion("desk/a", "a question", description="why?")
        api.move_repo("desk/a", "desk/b")
        api.update_repo_settings("desk/b", gated="manual")
        api.grant_access("desk/b", "carol")
        watched = [{"type": "org", "name": "desk"}]
        api.create_webhook(url="https://hooks.example/", watched=watched, secret="s")
        api.create_tag("desk/b", tag="v2")
        with hub.hub.database.writing() as session:
            spread(session, url=hub.url)
            settle(session, 1, Outcome(200))
            fill(session, "desk/b")
        yield hub


def rows(hub) -> dict[str, list[tuple[object, ...]]]:
    with hub.database.reading() as session:
        return {
            name: sorted(map(tuple, session.execute(select(*table.columns))), key=str)
            for name, table in Base.metadata.tables.items()
            if name not in ("hub_state", "audit_records")  # goes on: see test_audit.py
        }


@pytest.mark.parametrize("target", ["sqlite and disk", "postgresql and s3"])
def test_a_backup_restored(filled, tmp_path, request, start_hub, target) -> None:
    made = back_up(filled.hub, tmp_path / "backup")
    assert made.findings == ()
    before = rows(filled.hub)
    assert all(before.values())
    filled.api().create_repo("desk/later")  # after the backup
    where = {"database_url": None, "storage_url": None}
    if target == "postgresql and s3":
        moto = request.getfixturevalue("moto")
        where = {"database_url": request.getfixturevalue("postgresql").new_database()}
        where |= moto.settings(moto.new_bucket())
    settings = Settings(data_dir=tmp_path / "restored", **where)
    assert restore(settings, tmp_path / "backup") == []
    with start_hub(settings.data_dir, **where, tokens=filled.tokens) as again:
        assert rows(again.hub) == before
        assert list(check(again.hub)) == list(scrub(again.hub)) == []
        api = again.api()
        path = api.hf_hub_download("desk/b", "w.bin", revision="v1", cache_dir=tmp_path / "cache")
        with open(path, "rb") as handle:
            assert handle.read() == WEIGHTS
        api.create_repo("desk/c")  # numbers go on after those that are taken
        api.upload_file(path_or_fileobj=WEIGHTS[::-1], path_in_repo="w.bin", repo_id="desk/c")
        assert api.get_discussion_details("desk/b", 1).title == "a question"
        # what was signed before counts no longer, and clients of Xet forget what they sent
        assert again.hub.signer.keys.present != filled.hub.signer.keys.present


def test_a_second_snapshot_copies_only_what_is_new(filled, tmp_path) -> None:
    first = back_up(filled.hub, tmp_path / "backup")
    assert first.copied > len(WEIGHTS)
    filled.api().upload_file(path_or_fileobj=b"new", path_in_repo="new", repo_id="desk/b")
    second = back_up(filled.hub, tmp_path / "backup")
    assert second.copied == 3
    assert find_snapshot(tmp_path / "backup").folder.name == second.name
    settings = Settings(data_dir=tmp_path / "restored")
    assert restore(settings, tmp_path / "backup", snapshot=first.name) == []
    with open_hub(settings) as hub:
        assert list(check(hub)) == []
        with hub.database.reading() as session:
            assert session.scalar(select(func.count()).select_from(StoredFile)) == 4


def test_a_backup_of_a_busy_hub_is_of_one_moment(filled, tmp_path) -> None:
    done = threading.Event()

    def write() -> None:
        with filled.http() as http:
            number = 0
            while not done.is_set():
                number += 1
                body = b'{"key":"header","value":{"summary":"s"}}\n' + (
                    b'{"key":"file","value":{"path":"f%d","content":"MQ==","encoding":"base64"}}'
                    % number
                )
                assert http.post("/api/models/desk/b/commit/main", content=body).status_code == 200

    writer = threading.Thread(target=write)
    writer.start()
    try:
        names = [back_up(filled.hub, tmp_path / "backup").name for _ in range(3)]
    finally:
        done.set()
        writer.join()
    for name in names:
        settings = Settings(data_dir=tmp_path / name)
        assert restore(settings, tmp_path / "backup", snapshot=name) == []
        with open_hub(settings) as hub:
            assert list(check(hub)) == []


def test_nothing_is_collected_during_a_backup(filled) -> None:
    collector = threading.Thread(target=collect, args=[filled.hub])
    with collection_lock(filled.hub.settings, filled.hub.database, exclusive=False):
        collector.start()
        collector.join(0.3)
        assert collector.is_alive()
    collector.join(20)
    assert not collector.is_alive()


def test_damage_is_named_on_both_ways(filled, tmp_path) -> None:
    contents = contents_of(filled.hub.settings)
    (xorb,) = contents.names("xorbs")
    sound = contents.read(xorb)
    contents.write(xorb, sound[:1000] + bytes(1000) + sound[2000:])
    made = back_up(filled.hub, tmp_path / "damaged")
    assert [hash_of(xorb) in finding for finding in made.findings] == [True]
    assert not list((tmp_path / "damaged").glob("incoming-*"))
    assert not list((tmp_path / "damaged").rglob("content"))
    contents.write(xorb, sound)
    back_up(filled.hub, tmp_path / "backup")
    for path in (tmp_path / "backup").glob("[bx]*/??/*"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    findings = restore(Settings(data_dir=tmp_path / "restored"), tmp_path / "backup")
    assert len(findings) == 4
    assert all("changed in the backup" in finding for finding in findings)
    shutil.rmtree(tmp_path / "backup" / "blobs")
    shutil.rmtree(tmp_path / "backup" / "xorbs")
    findings = restore(Settings(data_dir=tmp_path / "empty"), tmp_path / "backup")
    assert len(findings) == 4
    assert all("not in the backup" in finding for finding in findings)


def test_a_spoilt_snapshot_is_refused(filled, tmp_path) -> None:
    made = back_up(filled.hub, tmp_path / "backup")
    settings = Settings(data_dir=tmp_path / "restored")
    folder = tmp_path / "backup" / "snapshots" / made.name
    with pytest.raises(NotFoundError, match=made.name):
        restore(settings, tmp_path / "backup", snapshot="yesterday")
    commits = folder / "commits.jsonl.gz"
    sound = commits.read_bytes()
    for spoil in (lambda: commits.write_bytes(sound[:-1]), commits.unlink):
        spoil()
        with pytest.raises(UnusableDataError, match="commits"):
            restore(settings, tmp_path / "backup")
    commits.write_bytes(sound)
    manifest = json.loads((folder / "backup.json").read_bytes())
    for wrong in ({**manifest, "format": 2}, {**manifest, "tables": None}, []):
        (folder / "backup.json").write_text(json.dumps(wrong))
        with pytest.raises(UnusableDataError):
            restore(settings, tmp_path / "backup")
    assert not settings.database_path.exists()


def test_a_restoration_cut_short_leaves_no_hub(filled, tmp_path, monkeypatch) -> None:
    back_up(filled.hub, tmp_path / "backup")
    settings = Settings(data_dir=tmp_path / "restored")

    def cut(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("fin_qlora_hub.care.restoring.new_keys", cut)
        with pytest.raises(KeyboardInterrupt):
            restore(settings, tmp_path / "backup")
    assert restore(settings, tmp_path / "backup") == []
    with pytest.raises(AlreadyExistsError):
        restore(settings, tmp_path / "backup")


def test_a_backup_from_before_a_change_of_the_tables(tmp_path) -> None:
    old, folder = tmp_path / "old.sqlite3", tmp_path / "backup" / "snapshots" / "old"
    folder.mkdir(parents=True)
    migrate(old, target="0003")
    engine = make_engine(old)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO namespaces (name, name_key, kind, full_name, created_at) "
            "VALUES ('Alice', 'alice', 'user', 'A', '2026-01-02 03:04:05.678901')"
        )
        _write_manifest(folder, write_rows(connection, folder), form="0003")
    engine.dispose()
    settings = Settings(data_dir=tmp_path / "restored")
    assert restore(settings, tmp_path / "backup") == []
    with open_hub(settings) as hub, hub.database.reading() as session:
        (alice,) = session.scalars(select(Namespace))
        assert alice.created_at == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def test_the_commands(filled, tmp_path, command, at, monkeypatch) -> None:
    at(filled)
    made = command("backup", str(tmp_path / "backup"), "--format", "json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["snapshot"]
    assert command("backup", str(tmp_path / "data" / "backup")).returncode == 2
    assert command("restore", str(tmp_path / "backup")).returncode == 5  # it is there already
    monkeypatch.setenv("FIN_QLORA_HUB_DATA_DIR", str(tmp_path / "restored"))
    for name in ("DATABASE", "STORAGE"):
        monkeypatch.delenv(f"FIN_QLORA_HUB_{name}_URL", raising=False)
    assert command("restore", str(tmp_path / "backup")).returncode == 0
    assert command("fsck").returncode == 0
    assert command("migrate", "--format", "json").returncode == 0
    assert "holds a hub already" in command("restore", str(tmp_path / "backup")).stderr
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "backup").rglob("*")}
    assert modes == {0}
