"""Webhooks are told of what their owners may read: once, soon, and never where it would do harm."""

import json
import socket
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, WebhookPayload
from huggingface_hub.errors import HfHubHTTPError
from sqlalchemy import select, update
from waiting import wait_until
from webhook_receiver import receiving

from fin_qlora_hub.access.identity import Caller, Role, find_user, grant, revoke
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import Search, find, record
from fin_qlora_hub.hub import open_hub
from fin_qlora_hub.metadata.tables import Webhook, WebhookDelivery
from fin_qlora_hub.outgoing import Outgoing
from fin_qlora_hub.repositories.repository import read_name, require_repository
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.webhooks import delivering as module
from fin_qlora_hub.webhooks.delivering import delivering, drop_waiting, lease, settle, spread
from fin_qlora_hub.webhooks.registry import Watched, Wish, create_webhook

ON_LOOPBACK = "127.0.0.0/8"


@pytest.fixture
def receiver():
    with receiving() as one:
        yield one


@pytest.fixture
def hub(start_hub, tmp_path, monkeypatch):
    """A hub that may call the loopback address, and looks often."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    with start_hub(tmp_path / "data", outgoing_networks=ON_LOOPBACK) as one:
        yield one


@pytest.fixture
def courier(hub):
    with delivering(hub.hub, url=hub.url) as one:
        yield one


def state(hub) -> list[tuple[str, int, int | None]]:
    with hub.hub.database.reading() as session:
        query = select(WebhookDelivery.status, WebhookDelivery.attempts, WebhookDelivery.answer)
        return [tuple(row) for row in session.execute(query.order_by(WebhookDelivery.id))]


def hurry(hub, **webhook: object) -> None:
    """Let what waits to be tried again be due now."""
    with hub.hub.database.writing() as session:
        session.execute(update(WebhookDelivery).values(due_at=datetime.now(UTC)))
        session.execute(update(Webhook).values(retry_at=None, **webhook))


def test_the_client_s_whole_interface(running) -> None:
    api = running.api("walter")
    watched = [{"type": "user", "name": "julien-c"}, {"type": "org", "name": "desk"}]
    made = api.create_webhook(
        url="https://hooks.example/new", watched=watched, domains=["repo"], secret="my-secret"
    )
    assert (made.url, made.domains, made.secret) == (
        "https://hooks.example/new",
        ["repo"],
        "my-secret",
    )
    assert [(one.type, one.name) for one in made.watched] == [("user", "julien-c"), ("org", "desk")]
    assert not made.disabled
    for shown in (api.get_webhook(made.id), *api.list_webhooks()):
        assert (shown.id, shown.url, shown.secret) == (made.id, made.url, "********")
    changed = api.update_webhook(made.id, url="https://hooks.example/x", domains=["discussion"])
    assert (changed.url, changed.domains) == ("https://hooks.example/x", ["discussion"])
    assert changed.watched == made.watched
    assert changed.secret == "********"
    assert api.update_webhook(made.id, secret="other").secret == "other"
    assert api.disable_webhook(made.id).disabled
    assert not api.enable_webhook(made.id).disabled
    for other in ("alice", "anonymous"):
        with pytest.raises(HfHubHTTPError):
            running.api(other).get_webhook(made.id)
        with pytest.raises(HfHubHTTPError):
            running.api(other).delete_webhook(made.id)
    assert running.api("bob").list_webhooks() == []
    api.delete_webhook(made.id)
    assert api.list_webhooks() == []
    with pytest.raises(HfHubHTTPError, match="no such webhook"):
        api.get_webhook(made.id)


def test_the_command_line(hf) -> None:
    words = ("--watch", "org:desk", "--secret", "s", "--format", "json")
    made = json.loads(hf("webhooks", "create", "--url", "https://hooks.example/a", *words))
    listed = json.loads(hf("webhooks", "ls", "--format", "json"))
    assert [(one["id"], one["disabled"]) for one in listed] == [(made["id"], False)]
    assert "hooks.example/a" in hf("webhooks", "info", made["id"])
    hf("webhooks", "update", made["id"], "--url", "https://hooks.example/b")
    hf("webhooks", "disable", made["id"])
    listed = json.loads(hf("webhooks", "ls", "--format", "json"))
    assert (listed[0]["url"], listed[0]["disabled"]) == ("https://hooks.example/b", True)
    assert listed[0]["watched"] in (["org:desk"], "org:desk")
    hf("webhooks", "enable", made["id"])
    hf("webhooks", "delete", made["id"], "--yes")
    assert json.loads(hf("webhooks", "ls", "--format", "json") or "[]") == []


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"url": "http://hooks.example/"}, "https"),
        ({"url": "https://127.0.0.1/"}, "public address"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "public address"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "public address"),
        ({"url": "https://user:word@hooks.example/"}, "without a user"),
        ({"url": "ftp://hooks.example/"}, "https"),
        ({"url": None}, "needs a url"),
        ({"jobSourceId": "1"}, "no jobs"),
        ({"watched": []}, "what the webhook watches"),
        ({"watched": [{"type": "space", "name": "a/b"}]}, "no 'space'"),
        ({"watched": [{"type": "model", "name": "a"}]}, "no full name"),
        ({"watched": [{"type": "user", "name": ""}]}, "cannot be the name"),
        ({"watched": [{"type": "user", "name": "a"}] * 101}, "at most 100"),
        ({"domains": []}, "of what"),
        ({"domains": ["other"]}, "domains"),
        ({"secret": "two words"}, "secret"),
        ({"secret": "line\nbreak"}, "secret"),
        ({"secret": "hf_token"}, "no token"),
        ({"secret": "ü"}, "secret"),
    ],
)
def test_what_is_refused(running, wish, complaint) -> None:
    body = {"url": "https://hooks.example/", "watched": [{"type": "org", "name": "desk"}], **wish}
    with running.http("carol") as http:
        answer = http.post("/api/settings/webhooks", json=body)
        assert answer.status_code == 400
        assert complaint in answer.json()["error"]
        assert http.get("/api/settings/webhooks").json() == []


def test_a_token_that_only_reads(running) -> None:
    with pytest.raises(HfHubHTTPError, match="role 'write'"):
        running.api("alice-read").create_webhook(
            url="https://hooks.example/", watched=[{"type": "org", "name": "desk"}]
        )


def test_everything_that_happens_to_a_repository(hub, receiver, courier) -> None:
    api = hub.api()
    watched = [{"type": "org", "name": "desk"}]
    made = api.create_webhook(url=receiver.url, watched=watched, secret="s3cret")
    name = api.create_repo("desk/a").repo_id
    commit = api.create_commit(name, [CommitOperationAdd("a", b"a")], commit_message="m")
    api.create_tag(name, tag="v1")
    api.delete_tag(name, tag="v1")
    api.update_repo_settings(name, visibility="public", gated="manual")
    talk = api.create_discussion(name, "why", description="tell me")
    said = api.comment_discussion(name, talk.num, "because")
    api.edit_discussion_comment(name, talk.num, said.id, "just because")
    api.change_discussion_status(name, talk.num, "closed")
    gone = CommitOperationDelete("a")
    pull = api.create_commit(name, [gone], commit_message="p", create_pr=True)
    api.merge_pull_request(name, int(pull.pr_num))
    api.super_squash_history(name)
    api.move_repo(name, "desk/b")
    receiver.payloads(16)  # of what is gone, less can be told
    api.delete_repo("desk/b")
    told = receiver.payloads(17)
    parsed = [WebhookPayload.model_validate(body) for body in told]
    assert [(one.event.scope, one.event.action) for one in parsed] == [
        ("repo", "create"),
        ("repo.content", "update"),
        ("repo.content", "update"),
        ("repo.content", "update"),
        ("repo.config", "update"),
        ("repo.config", "update"),
        ("discussion", "create"),
        ("discussion.comment", "create"),
        ("discussion.comment", "update"),
        ("discussion", "update"),
        ("discussion", "create"),
        ("repo.content", "update"),
        ("repo.content", "update"),
        ("discussion", "update"),
        ("repo.content", "update"),
        ("repo", "move"),
        ("repo", "delete"),
    ]
    assert {one.webhook.id for one in parsed} == {made.id}
    assert {one.webhook.version for one in parsed} == {3}
    assert {one.repo.id for one in parsed} == {parsed[0].repo.id}
    moved = parsed[1].updatedRefs[0]
    assert (moved.ref, moved.newSha, len(moved.oldSha)) == ("refs/heads/main", commit.oid, 40)
    tag, untag = parsed[2].updatedRefs[0], parsed[3].updatedRefs[0]
    assert (tag.ref, tag.oldSha, tag.newSha) == ("refs/tags/v1", None, commit.oid)
    assert (untag.oldSha, untag.newSha) == (commit.oid, None)
    assert told[4]["updatedConfig"] == {"private": False}
    assert told[5]["updatedConfig"] == {"gated": "manual"}
    assert (parsed[6].discussion.num, parsed[6].comment.content) == (talk.num, "tell me")
    assert parsed[6].discussion.url.web == f"{hub.url}/desk/a/discussions/{talk.num}"
    assert parsed[6].repo.url.api == f"{hub.url}/api/models/desk/a"
    assert parsed[8].comment.content == "just because"
    assert parsed[8].discussion.author.id == f"{int(parsed[8].discussion.author.id, 16):024x}"
    assert parsed[10].discussion.isPullRequest
    assert parsed[10].discussion.changes.base == "refs/heads/main"
    assert parsed[13].discussion.status == "merged"
    assert parsed[13].discussion.changes.mergeCommitId == parsed[12].updatedRefs[0].newSha
    assert (parsed[15].repo.name, parsed[15].movedTo.name) == ("desk/a", "desk/b")
    assert parsed[16].repo.name == "desk/b"
    headers = receiver.came[0][1]
    assert headers["X-Webhook-Secret"] == "s3cret"
    assert headers["Content-Type"] == "application/json"
    with hub.http() as http:
        log = http.get(f"/api/settings/webhooks/{made.id}/deliveries").json()
        assert [one["status"] for one in log] == ["delivered"] * 17
        assert log[0]["payload"] == told[16]
        assert (log[0]["answer"], log[0]["error"]) == (200, None)


def test_what_comes_from_elsewhere(hub, receiver, courier) -> None:
    api = hub.api()
    api.create_repo("desk/a")
    api.create_webhook(url=receiver.url, watched=[{"type": "org", "name": "desk"}])
    here = {"upstream": "https://there.invalid", "commit": "1" * 40, "former": None}
    with hub.hub.database.writing() as session:
        found = require_repository(session, read_name("desk/a"))
        record(session, Act.REPOSITORY_MIRRORED, found, ref="refs/heads/main", **here)
        record(session, Act.REPOSITORY_MIRRORED, found, ref=None, **here)
        record(session, Act.REPOSITORY_IMPORTED, found, signer="0" * 64, commit="2" * 40)
    told = [WebhookPayload.model_validate(body) for body in receiver.payloads(3)]
    assert [(one.event.scope, [ref.newSha for ref in one.updatedRefs]) for one in told] == [
        ("repo.content", ["1" * 40]),
        ("repo.content", []),
        ("repo.content", ["2" * 40]),
    ]


def test_only_what_is_watched(hub, receiver, courier) -> None:
    api = hub.api()
    api.create_repo("alice/watched")
    api.create_repo("alice/set", repo_type="dataset")
    for watched, domains in (
        ({"type": "model", "name": "alice/watched"}, ["repo"]),
        ({"type": "dataset", "name": "Alice/Set"}, ["discussion"]),
        ({"type": "model", "name": "alice/set"}, ["repo"]),
        ({"type": "model", "name": "alice/later"}, ["repo"]),
    ):
        api.create_webhook(url=receiver.url, watched=[watched], domains=domains)
    api.create_repo("alice/other")
    api.create_tag("alice/set", repo_type="dataset", tag="v1")
    api.create_discussion("alice/watched", "t", description="d")
    api.create_tag("alice/watched", tag="v1")
    api.create_discussion("alice/set", "t", repo_type="dataset", description="d")
    api.create_repo("alice/later")
    api.move_repo("alice/watched", "alice/moved")
    api.create_tag("alice/moved", tag="v2")
    told = receiver.payloads(5)
    found = sorted((one["repo"]["name"], one["event"]["scope"]) for one in told)
    assert found == [
        ("alice/later", "repo"),
        ("alice/moved", "repo.content"),
        ("alice/set", "discussion"),
        ("alice/watched", "repo"),
        ("alice/watched", "repo.content"),
    ]


def test_only_what_the_owner_may_read(hub, receiver) -> None:
    """At the act and again when it is sent: a role that was lost meanwhile counts."""
    watched = [{"type": "org", "name": "desk"}]
    hub.api("carol").create_webhook(url=receiver.url, watched=watched)
    hub.api("bob").create_webhook(url=receiver.url, watched=watched)
    hub.api().create_repo("desk/secret")
    hub.api().create_repo("desk/open", private=False)
    hub.api().delete_repo("desk/secret")
    with hub.hub.database.writing() as session:
        spread(session, url=hub.url)
        revoke(session, "desk", "bob")
    with delivering(hub.hub, url=hub.url):
        told = receiver.payloads(2)
        assert wait_until(lambda: all(status != "pending" for status, *_ in state(hub)))
    assert {one["repo"]["name"] for one in told} == {"desk/open"}
    assert sorted(status for status, *_ in state(hub)) == [
        *("delivered", "delivered"),
        *("dropped", "dropped"),
    ]
    with hub.hub.database.writing() as session:  # who comes later learns nothing of before
        grant(session, "desk", "carol", role=Role.READ)
        spread(session, url=hub.url)
    assert len(state(hub)) == 4


def test_a_place_that_fails_is_tried_again(hub, receiver, courier) -> None:
    receiver.statuses = [500, 302, 200]
    watched = [{"type": "user", "name": "alice"}]
    made = hub.api().create_webhook(url=receiver.url, watched=watched)
    hub.api().create_repo("alice/a")
    assert wait_until(lambda: state(hub) == [("pending", 1, 500)])
    hurry(hub)
    assert wait_until(lambda: state(hub) == [("pending", 2, 302)])  # no redirect is followed
    hurry(hub)
    assert wait_until(lambda: state(hub) == [("delivered", 3, 200)])
    assert len({json.dumps(body) for *_, body in receiver.came}) == 1
    assert len({headers["X-Webhook-Delivery"] for _, headers, _ in receiver.came}) == 1
    with hub.hub.database.reading() as session:
        webhook = session.get_one(Webhook, int(made.id, 16))
        assert (webhook.failures, webhook.failing_since) == (0, None)


def test_it_gives_up_and_disables(hub, receiver, courier) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    watched = [{"type": "user", "name": "alice"}]
    made = hub.api().create_webhook(url=f"http://127.0.0.1:{port}/", watched=watched)
    hub.api().create_repo("alice/a")
    assert wait_until(lambda: state(hub) == [("pending", 1, None)])
    with hub.hub.database.writing() as session:
        session.execute(update(WebhookDelivery).values(attempts=module.MAX_ATTEMPTS - 1))
    hurry(hub)
    assert wait_until(lambda: state(hub) == [("failed", module.MAX_ATTEMPTS, None)])
    assert not hub.api().get_webhook(made.id).disabled
    hub.api().create_repo("alice/b")
    hurry(hub, failing_since=datetime.now(UTC) - timedelta(days=4))
    assert wait_until(lambda: hub.api().get_webhook(made.id).disabled)
    with hub.hub.database.reading() as session:
        last = list(find(session, Search(act="webhook.disabled")))[-1]
    assert (last["means"], "failing since" in last["details"]["reason"]) == ("hub", True)
    with hub.http() as http:
        log = http.get(f"/api/settings/webhooks/{made.id}/deliveries").json()
        assert "refused" in log[0]["error"]
    hub.api().create_repo("alice/c")  # while it is disabled
    hub.api().enable_webhook(made.id)
    hub.api().update_webhook(made.id, url=receiver.url)
    hub.api().create_repo("alice/d")
    hurry(hub)
    names = {one["repo"]["name"] for one in receiver.payloads(2)}
    assert names == {"alice/b", "alice/d"}


def test_one_that_fails_keeps_no_other_waiting(hub, receiver, courier) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it listens and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        watched = [{"type": "user", "name": "alice"}]
        for _ in range(3):
            hub.api().create_webhook(url=url, watched=watched)
        hub.api().create_webhook(url=receiver.url, watched=watched)
        for number in range(3):
            hub.api().create_repo(f"alice/r{number}")
        assert len(receiver.payloads(3)) == 3


def test_the_log_shows_nothing_that_its_owner_may_no_longer_read(hub, receiver) -> None:
    watched = [{"type": "org", "name": "desk"}]
    made = hub.api("bob").create_webhook(url=receiver.url, watched=watched)
    hub.api().create_repo("desk/secret", private=True)
    with hub.http("bob") as http:

        def log() -> list[tuple[str, object]]:
            found = http.get(f"/api/settings/webhooks/{made.id}/deliveries").json()
            return [(one["status"], one["payload"]) for one in found]

        with hub.hub.database.writing() as session:
            spread(session, url=hub.url)
            revoke(session, "desk", "bob")
        assert log() == [("pending", None)]
        with hub.hub.database.writing() as session:
            assert lease(session, limit=1) == []
        assert log() == [("dropped", None)]
    with hub.hub.database.reading() as session:
        assert session.scalars(select(WebhookDelivery.payload)).all() == [{}]


def test_places_that_fail_come_after_all_others(hub, receiver) -> None:
    watched = [{"type": "user", "name": "alice"}]
    for _ in range(3):
        hub.api().create_webhook(url="http://127.0.0.1:1/", watched=watched)
    hub.api().create_repo("alice/a")
    with hub.hub.database.writing() as session:
        spread(session, url=hub.url)
        session.execute(update(Webhook).values(failures=4))
    hub.api().create_webhook(url=receiver.url, watched=watched)
    hub.api().create_repo("alice/b")
    with hub.hub.database.writing() as session:
        spread(session, url=hub.url)
        (job,) = lease(session, limit=1)
    assert job.url == receiver.url


def test_a_record_that_cannot_be_told_holds_up_no_other(
    hub, receiver, courier, monkeypatch
) -> None:
    real = module.payload

    def payload(session, row, subject, *, url):
        if subject.names[0] == "alice/odd":
            raise KeyError("former")
        return real(session, row, subject, url=url)

    monkeypatch.setattr(module, "payload", payload)
    hub.api().create_webhook(url=receiver.url, watched=[{"type": "user", "name": "alice"}])
    hub.api().create_repo("alice/odd")
    hub.api().create_repo("alice/even")
    assert [one["repo"]["name"] for one in receiver.payloads(1)] == ["alice/even"]


def test_a_delivery_whose_record_is_gone_is_dropped(hub, receiver) -> None:
    hub.api().create_webhook(url=receiver.url, watched=[{"type": "user", "name": "alice"}])
    hub.api().create_repo("alice/a")
    with hub.hub.database.writing() as session:
        spread(session, url=hub.url)
        session.execute(update(WebhookDelivery).values(sequence=10**6))
        assert lease(session, limit=1) == []
    assert [status for status, *_ in state(hub)] == ["dropped"]


def test_what_cannot_be_sent_is_a_failure(hub, receiver, monkeypatch) -> None:
    def send(_outgoing, _job):
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(module, "send", send)
    hub.api().create_webhook(url=receiver.url, watched=[{"type": "user", "name": "alice"}])
    hub.api().create_repo("alice/a")
    with delivering(hub.hub, url=hub.url):
        assert wait_until(lambda: state(hub) == [("pending", 1, None)])


def test_several_servers_deliver_once(hub, receiver) -> None:
    watched = [{"type": "user", "name": "alice"}]
    hub.api().create_webhook(url=receiver.url, watched=watched)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(delivering(hub.hub, url=hub.url))
        for number in range(8):
            hub.api().create_repo(f"alice/r{number}")
        receiver.payloads(8)
        assert wait_until(lambda: [s for s, *_ in state(hub)] == ["delivered"] * 8)
    assert len(receiver.came) == 8


def test_a_server_that_died_while_it_sent(hub, receiver) -> None:
    watched = [{"type": "user", "name": "alice"}]
    hub.api().create_webhook(url=receiver.url, watched=watched)
    hub.api().create_repo("alice/a")
    with hub.hub.database.writing() as session:
        spread(session, url=hub.url)
        assert len(lease(session, limit=5)) == 1  # by the one that dies
    with hub.hub.database.writing() as session:
        assert lease(session, limit=5) == []
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(WebhookDelivery).values(leased_until=past))
    with delivering(hub.hub, url=hub.url):
        assert len(receiver.payloads(1)) == 1


def test_a_name_that_leads_inside(hub, receiver, monkeypatch) -> None:
    """It was taken when it was made; its owner learns nothing of where it leads."""
    port = receiver.server_port
    real = socket.getaddrinfo

    def resolve(host, *arguments, **options):
        if host == "inside.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", port))]
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = f"https://inside.example:{port}/"
    watched = [{"type": "user", "name": "alice"}]
    made = hub.api().create_webhook(url=url, watched=watched)
    hub.api().create_repo("alice/a")
    with delivering(hub.hub, url=hub.url):
        assert wait_until(lambda: state(hub) == [("pending", 1, None)])
    with hub.http() as http:
        log = http.get(f"/api/settings/webhooks/{made.id}/deliveries").json()
    assert log[0]["error"] == "The address is none that this hub calls."
    assert receiver.came == []


def test_too_much_waits(hub, receiver, monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 2)
    watched = [{"type": "user", "name": "alice"}]
    hub.api().create_webhook(url=receiver.url, watched=watched)
    for number in range(4):
        hub.api().create_repo(f"alice/r{number}")
    with hub.hub.database.writing() as session:
        spread(session, url=hub.url)
    assert len(state(hub)) == 2


def test_what_happened_before_is_not_told(hub, receiver, courier) -> None:
    api = hub.api()
    watched = [{"type": "user", "name": "alice"}]
    first = api.create_webhook(url=receiver.url, watched=watched)
    api.disable_webhook(first.id)
    api.create_repo("alice/before")
    api.create_webhook(url=receiver.url, watched=watched)
    api.create_repo("alice/after")
    told = receiver.payloads(1)
    assert wait_until(lambda: [s for s, *_ in state(hub)] == ["delivered"])
    assert [one["repo"]["name"] for one in told] == ["alice/after"]


def test_old_deliveries_are_forgotten(hub, receiver) -> None:
    watched = [{"type": "user", "name": "alice"}]
    hub.api().create_webhook(url=receiver.url, watched=watched)
    hub.api().create_repo("alice/a")
    with hub.hub.database.writing() as session:
        spread(session, url=hub.url)
        drop_waiting(session)
    assert state(hub) == [("dropped", 0, None)]
    with hub.hub.database.writing() as session:
        old = datetime.now(UTC) - timedelta(days=31)
        session.execute(update(WebhookDelivery).values(created_at=old))
        module.clear(session)
    assert state(hub) == []


def test_a_webhook_deleted_while_it_is_told(hub, receiver) -> None:
    watched = [{"type": "user", "name": "alice"}]
    made = hub.api().create_webhook(url=receiver.url, watched=watched)
    hub.api().create_repo("alice/a")
    with hub.hub.database.writing() as session:
        spread(session, url=hub.url)
        (job,) = lease(session, limit=1)
    hub.api().delete_webhook(made.id)
    with hub.hub.database.writing() as session:
        settle(session, job.id, module.Outcome(200))
    assert state(hub) == []


def test_a_server_of_its_own_tells_them(command, served, receiver, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FIN_QLORA_HUB_OUTGOING_NETWORKS", ON_LOOPBACK)
    command("init")
    command("user", "add", "alice")
    words = ("token", "create", "alice", "--name", "t", "--role=write", "--format=quiet")
    token = command(*words).stdout.strip()
    from huggingface_hub import HfApi

    with served(tmp_path / "data") as (process, url):
        api = HfApi(endpoint=url, token=token)
        api.create_webhook(url=receiver.url, watched=[{"type": "user", "name": "alice"}])
        api.create_repo("alice/a")
        process.kill()  # whether it was told already or not
        process.wait()
    with served(tmp_path / "data") as (_, url):
        told = receiver.payloads(1)
    assert told[0]["repo"]["name"] == "alice/a"


def test_an_administrator_sees_them_all(command, tmp_path) -> None:
    command("init")
    command("user", "add", "alice")
    wish = Wish("https://hooks.example/key-in-path", [Watched("user", "alice")], secret="s3cret")
    with open_hub(Settings()) as opened, opened.database.writing() as session:
        number = find_user(session, "alice").id
        caller = Caller(number, "alice", "", None, "t", Role.WRITE, datetime.now(UTC))
        create_webhook(session, wish, outgoing=Outgoing(), caller=caller)
    shown = command("webhook", "list").stdout
    assert "alice  hooks.example  0 failures in a row, 0 waiting  user:alice" in shown
    assert "key-in-path" not in shown + command("webhook", "list", "--format=json").stdout
    assert command("webhook", "disable", "1").returncode == 0
    assert json.loads(command("webhook", "list", "--format=json").stdout)["disabled"]
    assert command("webhook", "disable", "2").returncode == 5
    text = command("audit", "list", "--act", "webhook.disabled").stdout
    assert "by an administrator" in text
    exported = command("audit", "export").stdout
    assert "s3cret" not in exported
    assert "key-in-path" not in exported
