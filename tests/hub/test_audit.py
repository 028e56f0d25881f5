"""Every act is on record, with whoever did it, and nobody can change the record unseen."""

import hashlib
import json
import shutil
import threading

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError
from sqlalchemy import text
from starlette.testclient import TestClient
from waiting import wait_until

from fin_qlora_hub.access.identity import Role, create_token
from fin_qlora_hub.app import create_app
from fin_qlora_hub.audit import record as audit
from fin_qlora_hub.audit import recording
from fin_qlora_hub.audit.acting import Actor, Means, act_as
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import Head, Place, Search, find, read_head, record, verify
from fin_qlora_hub.care.backup import back_up
from fin_qlora_hub.care.restoring import restore
from fin_qlora_hub.errors import BusyError
from fin_qlora_hub.hub import open_hub
from fin_qlora_hub.metadata.database import Database, writing_engine
from fin_qlora_hub.settings import Settings


def records(hub, **wanted) -> list[dict]:
    with hub.database.reading() as session:
        return list(find(session, Search(**wanted)))


def findings(hub, *kept: Head) -> list[str]:
    with hub.database.reading() as session:
        return list(verify(session, list(kept)))


def end(hub) -> Head:
    with hub.database.reading() as session:
        return read_head(session)


@pytest.fixture
def since(running):
    """Give the records that were written since the test began."""
    start = end(running.hub).sequence
    return lambda **wanted: records(running.hub, after=start, **wanted)


@pytest.fixture
def own(start_hub, tmp_path):
    """A hub of the test's own, with a few records."""
    with start_hub(tmp_path / "data") as hub:
        hub.api().create_repo("alice/a")
        hub.api().create_tag("alice/a", tag="v1")
        yield hub.hub


def tamper(hub, *statements: str) -> None:
    """Change the record as somebody with the database's password would."""
    engine = writing_engine(hub.database.place)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE audit_records DISABLE TRIGGER USER"))
        else:
            for what in ("update", "delete"):
                connection.execute(text(f"DROP TRIGGER audit_records_no_{what}"))
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_the_life_of_a_repository(running, since) -> None:
    api = running.api()
    first = api.create_repo("desk/audited").repo_id
    add = CommitOperationAdd("a.txt", b"a")
    made = api.create_commit(first, [add], commit_message="add a")
    api.create_branch(first, branch="dev")
    api.create_tag(first, tag="v1")
    api.delete_branch(first, branch="dev")
    api.delete_tag(first, tag="v1")
    api.update_repo_settings(first, visibility="public", gated="manual")
    api.update_repo_settings(first, visibility="public", gated="manual")  # nothing new
    with running.http("carol") as http:
        assert http.post(f"/{first}/ask-access").status_code == 200
    running.api("walter").reject_access_request(first, "carol", rejection_reason="no")
    running.api("walter").accept_access_request(first, "carol")
    api.grant_access(first, "alice")
    api.super_squash_history(first)
    pull = api.create_pull_request(first, "p", description="d")
    on_branch = [CommitOperationAdd("b.txt", b"b")]
    api.create_commit(first, on_branch, commit_message="b", revision=pull.git_reference)
    said = running.api("walter").comment_discussion(first, pull.num, "well")
    running.api("walter").edit_discussion_comment(first, pull.num, said.id, "very well")
    with pytest.warns(UserWarning, match="irreversible"):
        running.api("walter").hide_discussion_comment(first, pull.num, said.id)
    api.rename_discussion(first, pull.num, "better")
    api.change_discussion_status(first, pull.num, "closed")
    api.change_discussion_status(first, pull.num, "open")
    api.merge_pull_request(first, pull.num)
    api.move_repo(first, "alice/audited")
    api.duplicate_repo("alice/audited", "desk/copied")
    api.delete_repo("alice/audited")

    found = since(repository="alice/audited")
    assert [(one["act"], one["actor"]) for one in found] == [
        ("repository.created", "alice"),
        ("branch.committed", "alice"),
        ("branch.created", "alice"),
        ("tag.created", "alice"),
        ("branch.deleted", "alice"),
        ("tag.deleted", "alice"),
        ("repository.visibility-changed", "alice"),
        ("repository.gate-changed", "alice"),
        ("access.asked", "carol"),
        ("access.refused", "walter"),
        ("access.granted", "walter"),
        ("access.granted", "alice"),
        ("branch.squashed", "alice"),
        ("discussion.opened", "alice"),
        ("branch.committed", "alice"),
        ("comment.added", "walter"),
        ("comment.edited", "walter"),
        ("comment.hidden", "walter"),
        ("discussion.renamed", "alice"),
        ("discussion.closed", "alice"),
        ("discussion.reopened", "alice"),
        ("branch.committed", "alice"),
        ("discussion.merged", "alice"),
        ("repository.moved", "alice"),
        ("repository.deleted", "alice"),
    ]
    assert {one["repository_id"] for one in found} == {found[0]["repository_id"]}
    assert [one["repository"] for one in found][-3:] == ["desk/audited", *["alice/audited"] * 2]
    commit = found[1]
    assert commit["details"]["commit"] == made.oid
    assert commit["details"]["former"] == found[0]["details"]["commit"]
    assert (commit["means"], commit["token"], commit["address"]) == ("request", "test", "127.0.0.1")
    assert since(repository="desk/copied")[0]["details"]["source"] == "alice/audited"
    assert findings(running.hub) == []


def test_a_request_is_found_by_its_id(running, repository, since) -> None:
    with running.http() as http:
        headers = {"X-Request-Id": "from-the-log"}
        path = f"/api/models/{repository}/branch/b"
        assert http.post(path, headers=headers).headers["X-Request-Id"] == "from-the-log"
    assert [one["request"] for one in since(act=Act.BRANCH_CREATED)] == ["from-the-log"]


def test_what_did_not_happen_is_not_on_record(running, repository, since) -> None:
    api = running.api()
    before = len(since())
    for act in (
        lambda: api.create_tag(repository, tag="v 1"),
        lambda: api.delete_branch(repository, branch="none"),
        lambda: api.create_repo(repository),
        lambda: running.api("bob").create_branch(repository, branch="b"),
        lambda: api.create_commit(
            repository, [CommitOperationAdd("a", b"")], commit_message="m", parent_commit="0" * 40
        ),
    ):
        with pytest.raises(HfHubHTTPError):
            act()
    assert len([one for one in since() if one["act"] != "request.refused"]) == before


def test_many_at_once_leave_no_hole(running, since, new_name) -> None:
    names = [new_name() for _ in range(4)]

    def work(name: str) -> None:
        api = running.api()
        api.create_repo(name)
        for number in range(5):
            api.create_tag(name, tag=f"v{number}")

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [one["sequence"] for one in since()]
    assert len(numbers) >= 24
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert findings(running.hub) == []


def test_no_secret_is_on_record(command, tmp_path) -> None:
    command("init")
    command("user", "add", "alice")
    secret = command(
        *("token", "create", "alice", "--name", "t", "--role=write", "--format=quiet")
    ).stdout.strip()
    text = command("audit", "export").stdout
    assert '"token.created"' in text
    assert secret[4:] not in text
    assert hashlib.sha256(secret.encode()).hexdigest() not in text


def test_the_database_itself_refuses_to_change_the_record(own) -> None:
    engine = writing_engine(own.database.place)
    for statement in ("UPDATE audit_records SET actor = 'eve'", "DELETE FROM audit_records"):
        with pytest.raises(Exception, match="not to be changed"), engine.begin() as connection:
            connection.execute(text(statement))
    engine.dispose()
    assert findings(own) == []


@pytest.mark.parametrize(
    "column",
    [
        "act = 'tag.deleted'",
        "means = 'hub'",
        "actor = 'eve'",
        "token = 'other'",
        "address = '10.0.0.1'",
        "request = 'other'",
        "repository_id = 999",
        "repository = 'eve/a'",
        "details = '{}'",
        "at = '2020-01-01 00:00:00'",
        f"former = '{'1' * 64}'",
        f"digest = '{'1' * 64}'",
    ],
)
def test_a_changed_record(own, column) -> None:
    number = end(own).sequence - 1
    tamper(own, f"UPDATE audit_records SET {column} WHERE sequence = {number}")
    assert any(f"Record {number}" in finding for finding in findings(own))


def test_a_record_that_is_removed_or_moved(own) -> None:
    last = end(own)
    tamper(own, "DELETE FROM audit_records WHERE sequence = 3")
    assert findings(own)[0] == "Records 3 to 3 are missing."
    with own.database.writing() as session:
        session.execute(text("UPDATE audit_records SET sequence = 3 WHERE sequence = 2"))
    assert len(findings(own)) >= 2
    assert findings(own, last)


def test_a_record_written_anew(own) -> None:
    """Whoever changes a record and all digests after it is found by a head that was noted."""
    kept = end(own)
    with own.database.reading() as session:
        rows = [dict(row) for row in audit._rows(session, audit._records.select())]
    last = audit.NOTHING
    changes = []
    for row in rows:
        row["former"] = last
        if row["sequence"] == 3:
            row["actor"] = "eve"
        last = audit._digest(row)
        changes.append(
            f"UPDATE audit_records SET actor = '{row['actor']}', former = '{row['former']}', "
            f"digest = '{last}' WHERE sequence = {row['sequence']}"
        )
    head = f"UPDATE hub_state SET value = '{kept.sequence} {last}' WHERE name = 'audit_head'"
    tamper(own, *changes, head)
    assert findings(own) == []
    assert findings(own, kept) == [f"Record {kept.sequence} is not the one that was noted before."]


def test_a_record_cut_off_at_its_end(own) -> None:
    kept = end(own)
    tamper(own, f"DELETE FROM audit_records WHERE sequence > {kept.sequence - 2}")
    missing = f"Records {kept.sequence - 1} to {kept.sequence} are missing"
    assert findings(own) == [f"{missing} at the end."]
    with own.database.writing() as session:  # the hub goes on after the hole
        record(session, Act.TAG_CREATED)
    assert findings(own)[0] == f"{missing}."
    # whoever knows of the head, too, is found by what was noted elsewhere
    with own.database.reading() as session:
        *_, last = find(session, Search(), limit=kept.sequence - 2)
    with own.database.writing() as session:
        session.execute(text(f"DELETE FROM audit_records WHERE sequence > {last['sequence']}"))
        value = f"{last['sequence']} {last['digest']}"
        session.execute(text(f"UPDATE hub_state SET value = '{value}' WHERE name = 'audit_head'"))
    assert findings(own) == []
    assert findings(own, kept) == [f"Record {kept.sequence}, which was noted before, is missing."]


def test_it_outlives_a_backup(own, tmp_path, database) -> None:
    kept = end(own)
    made = back_up(own, tmp_path / "backup")
    settings = Settings(data_dir=tmp_path / "restored", database_url=database())
    assert restore(settings, tmp_path / "backup") == []
    with open_hub(settings) as again:
        assert findings(again, kept) == []
        assert records(again)[: kept.sequence] == records(own)[: kept.sequence]
        assert records(again)[-1]["act"] == "hub.restored"
        assert records(again)[-1]["details"] == {"snapshot": made.name}
    assert records(own)[-1]["act"] == "hub.backed-up"
    # what was recorded since the snapshot is not in the new hub, and whoever noted the end sees it
    with open_hub(settings) as again:
        assert findings(again, end(own))


def test_the_commands(command, tmp_path) -> None:
    command("init")
    command("user", "add", "alice")
    command("org", "add", "desk", "--owner", "alice")
    listed = [
        json.loads(line)
        for line in command("audit", "list", "--format=json").stdout.split("\n")
        if line
    ]
    assert [(one["act"], one["means"]) for one in listed] == [
        ("user.added", "command"),
        ("organization.added", "command"),
    ]
    assert listed[0]["actor"]
    assert "user.added" in command("audit", "list").stdout
    assert command("audit", "list", "--after", "1", "--format=quiet").stdout == "2\n"
    assert command("audit", "list", "--act", "user.added", "--format=quiet").stdout == "1\n"
    assert command("audit", "list", "--user", "nobody-here").stdout == ""
    assert command("audit", "list", "--until", "2020-01-01").stdout == ""
    assert command("audit", "list", "--since", "2020-01-01", "--format=quiet").stdout == "1\n2\n"
    assert command("audit", "list", "--since", "yesterday").returncode == 2
    assert command("audit", "verify").stdout == "The record is whole.\n"


def test_an_export_verifies_by_itself_and_resumes(command, tmp_path) -> None:
    command("init")
    command("user", "add", "alice")
    target = tmp_path / "siem.jsonl"
    assert command("audit", "export", "--to", str(target)).returncode == 0
    command("user", "add", "bob")
    with target.open("a") as handle:
        handle.write('{"sequence": 2, "cut')
    assert command("audit", "export", "--to", str(target)).returncode == 0
    assert target.read_text() == command("audit", "export").stdout
    former = "0" * 64
    for number, line in enumerate(target.read_text().splitlines(), start=1):
        one = json.loads(line)
        digest = one.pop("digest")
        plain = json.dumps(one, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(plain.encode()).hexdigest() == digest
        assert (one["sequence"], one["former"]) == (number, former)
        former = digest
    assert number == 2
    target.write_text("no record\n")
    assert command("audit", "export", "--to", str(target)).returncode == 2


def test_heads_are_kept_and_signed(command, tmp_path) -> None:
    command("init")
    command("user", "add", "alice")
    command("key", str(tmp_path / "key"))
    command("key", str(tmp_path / "other"))
    plain, signed = tmp_path / "plain", tmp_path / "signed"
    plain.write_text(command("audit", "head").stdout)
    signed.write_text(command("audit", "head", "--key", str(tmp_path / "key")).stdout)
    trust = ("--trust", str(tmp_path / "key.pub"))
    command("user", "add", "bob")
    assert command("audit", "verify", "--head", str(plain), "--head", str(signed)).returncode == 0
    assert command("audit", "verify", "--head", str(signed), *trust).returncode == 0
    for path, key in ((plain, "key.pub"), (signed, "other.pub")):
        done = command("audit", "verify", "--head", str(path), "--trust", str(tmp_path / key))
        assert (done.returncode, "not signed" in done.stderr) == (2, True)
    signed.write_text(signed.read_text().replace('"sequence":1', '"sequence":2'))
    assert command("audit", "verify", "--head", str(signed), *trust).returncode == 2
    found = command("audit", "verify", "--head", str(signed))
    assert (found.returncode, "was noted before" in found.stdout) == (1, True)
    signed.write_text("nonsense")
    assert command("audit", "verify", "--head", str(signed)).returncode == 2
    assert command("audit", "verify", *trust).returncode == 2


def test_an_administrator_s_commands(start_hub, command, tmp_path) -> None:
    command("init")
    for words in (
        ("user", "add", "alice"),
        ("user", "add", "bob"),
        ("org", "add", "desk", "--owner", "alice"),
        ("org", "grant", "desk", "bob", "--role=read"),
        ("org", "revoke", "desk", "bob"),
        ("token", "create", "alice", "--name", "t"),
        ("token", "revoke", "alice", "--name", "t"),
        ("gc",),
        ("gc", "--dry-run"),
        ("backup", str(tmp_path / "backup")),
    ):
        assert command(*words).returncode == 0
    with open_hub(Settings()) as hub:
        assert [one["act"] for one in records(hub)] == [
            *("user.added", "user.added", "organization.added", "role.granted", "role.revoked"),
            *("token.created", "token.revoked", "contents.collected", "hub.backed-up"),
        ]
        assert findings(hub) == []
    shutil.rmtree(tmp_path / "backup")


def test_reads_are_on_record(running, repository, since, xet, maker, tmp_path) -> None:
    api = running.api()
    files = [CommitOperationAdd(name, b"bytes") for name in ("a.txt", "b.txt")]
    commit = api.create_commit(repository, files, commit_message="m").oid
    weights = b"weights" * 1000
    with xet(repository) as store:
        xorb, body = maker.xorb(weights)
        store.post(f"v1/xorbs/default/{xorb}", content=body).raise_for_status()
        store.post("v1/shards", content=maker.shard(maker.file(weights))).raise_for_status()
    running.hub.recorder.flush()
    before = len(since(act=Act.CONTENTS_READ))
    with running.http() as http:
        for name in ("a.txt", "b.txt", "a.txt"):
            assert http.get(f"/{repository}/resolve/{commit}/{name}").content == b"bytes"
        assert http.head(f"/{repository}/resolve/main/a.txt").status_code == 200
        assert http.get(f"/{repository}/resolve/main/none").status_code == 404
        assert http.get(f"/api/models/{repository}").status_code == 200
        assert http.get(f"/api/models/{repository}/tree/main").status_code == 200
    xet_hash = maker.file_hash(weights)
    with xet(repository, scope="read") as store:
        store.get(f"v1/reconstructions/{xet_hash}").raise_for_status()
    running.hub.recorder.flush()
    by_file, by_token, by_chunks = since(act=Act.CONTENTS_READ)[before:]
    assert by_file["details"] == {
        "way": "file",
        "files": ["a.txt", "b.txt"],
        "requests": 3,
        "commit": commit,
    }
    assert {one["repository"] for one in (by_file, by_token, by_chunks)} == {repository}
    assert {one["actor"] for one in (by_file, by_token, by_chunks)} == {"alice"}
    assert (by_file["token"], by_file["address"]) == ("test", "127.0.0.1")
    assert by_token["details"] == {"way": "token", "revisions": ["main"], "requests": 1}
    assert by_chunks["details"] == {"way": "chunks", "xet_hashes": [xet_hash], "requests": 1}
    assert findings(running.hub) == []


def test_reads_of_one_request_are_found_without_a_flush(running, repository, since) -> None:
    with running.http() as http:
        assert http.get(f"/{repository}/resolve/main/.gitattributes").status_code == 200
    assert wait_until(lambda: since(act=Act.CONTENTS_READ, repository=repository))


def test_reads_need_not_be_on_record(start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data", audit_reads=False) as hub:
        hub.api().create_repo("alice/a")
        with hub.http() as http:
            assert http.get("/alice/a/resolve/main/.gitattributes").status_code == 200
        hub.hub.recorder.flush()
        assert records(hub.hub, act=Act.CONTENTS_READ) == []


def test_what_was_refused_is_on_record(running, repository, shared, since) -> None:
    with running.http("bob") as http:
        for _ in range(2):
            assert http.delete(f"/api/models/{shared}/branch/x?secret=1").status_code == 403
        assert http.delete(f"/api/models/{repository}/branch/x").status_code == 404
    with running.http("anonymous") as http:
        assert http.post("/api/repos/create", json={"name": "x"}).status_code == 401
    running.api().update_repo_settings(repository, visibility="public", gated="manual")
    with running.http("carol") as http:
        assert http.get(f"/{repository}/resolve/main/.gitattributes").status_code == 403
    running.hub.recorder.flush()
    found = since(act=Act.REQUEST_REFUSED)
    assert {(one["actor"], *one["details"]["paths"]) for one in found} == {
        ("bob", f"/api/models/{shared}/branch/x"),
        ("bob", f"/api/models/{repository}/branch/x"),
        (None, "/api/repos/create"),
        ("carol", f"/{repository}/resolve/main/.gitattributes"),
    }
    assert {one["details"]["requests"] for one in found} == {1, 2}


def test_a_database_that_is_away_costs_no_read(own, monkeypatch) -> None:
    def note(count: int) -> None:
        for number in range(count):
            own.recorder.read(Place(1, "alice/a"), f"file {number}", way="file", commit="c")

    monkeypatch.setattr(recording, "MAX_WAITING", 300)
    start = end(own).sequence
    with monkeypatch.context() as away:
        away.setattr(Database, "writing", lambda _self: (_ for _ in ()).throw(BusyError("away")))
        note(250)
        own.recorder.flush()
        note(100)
        own.recorder.flush()
    own.recorder.flush()
    found = records(own, after=start)
    assert sum(one["details"].get("requests", 0) for one in found) == 300
    assert [one["details"]["lost"] for one in found if "lost" in one["details"]] == [50]
    assert all(len(one["details"].get("files", [])) <= recording.MAX_FILES for one in found)
    assert findings(own) == []


def test_a_client_that_says_a_long_address_is_on_record(own) -> None:
    """Where all proxies are trusted it says what it likes; PostgreSQL takes 64 characters."""
    start = end(own).sequence
    app = create_app(own)
    with TestClient(app, client=("x" * 500, 1)) as http:
        with own.database.writing() as session:
            secret = create_token(session, "alice", name="long", role=Role.WRITE)
        http.headers["Authorization"] = f"Bearer {secret}"
        assert http.post("/api/repos/create", json={"name": "long"}).status_code == 200
    (found,) = records(own, after=start, act="repository.created")
    assert found["address"] == "x" * 64


def test_one_thing_that_cannot_be_noted_hides_no_other(own, monkeypatch) -> None:
    """As an address longer than its column, which PostgreSQL refuses."""
    start = end(own).sequence
    real = recording.record_all

    def refusing(session, entries):
        if any("odd" in entry.details.get("files", ()) for entry in entries):
            raise ValueError("value too long")
        real(session, entries)

    monkeypatch.setattr(recording, "record_all", refusing)
    for number, named in enumerate(["before", "odd", "after"]):
        own.recorder.read(Place(number + 1, "alice/a"), named, way="file", commit="c")
    own.recorder.flush()
    own.recorder.flush()
    found = [one["details"] for one in records(own, after=start)]
    assert [one["files"] for one in found if "files" in one] == [["before"], ["after"]]
    assert [one["lost"] for one in found if "lost" in one] == [1]


def test_nobody_fills_the_record_by_being_refused(own) -> None:
    start = end(own).sequence
    for actor, most in ((Actor(Means.REQUEST, "bob"), 20), (Actor(Means.REQUEST), 3)):
        act_as(actor)
        for number in range(100):
            own.recorder.refused("DELETE", f"/api/{number}", code="Forbidden")
        own.recorder.flush()
        (found,) = records(own, after=start)
        assert len(found["details"]["paths"]) == most + 1
        assert found["details"]["requests"] == 100
        start += 1
    act_as(Actor())
