"""What goes wrong on the server's side is told clearly and leaves no half of anything."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from contents import contents_of
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError
from waiting import wait_until

from fin_qlora_hub.cards.card import describe
from fin_qlora_hub.care.checking import check
from fin_qlora_hub.hub import open_hub
from fin_qlora_hub.metadata.tables import Repository
from fin_qlora_hub.periodic import Periodic
from fin_qlora_hub.repositories import committing
from fin_qlora_hub.repositories.commits import plan_commit
from fin_qlora_hub.stores.local_blobs import LocalBlobStore


def test_a_busy_database_is_told(start_hub, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("fin_qlora_hub.metadata.database.BUSY_TIMEOUT_SECONDS", 0.05)
    with start_hub(tmp_path / "data") as hub, hub.http() as http:
        with hub.hub.database.writing():
            answer = http.post("/api/repos/create", json={"name": "b"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert http.post("/api/repos/create", json={"name": "b"}).status_code == 200


def test_nobody_who_reads_waits_for_those_who_write(start_hub, tmp_path) -> None:
    # with the real patience of writers: 30 seconds each, and more of them than there are threads
    counted = {"X-HF-Download-Counter": "1"}
    with start_hub(tmp_path / "data") as hub, hub.http() as http, ThreadPoolExecutor(60) as pool:
        hub.api().create_repo("alice/a")
        hub.api().upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="alice/a")
        file = "/alice/a/resolve/main/config.json"
        with hub.hub.database.writing():
            body = {"tag": "t"}
            writes = [
                pool.submit(http.post, f"/api/models/alice/a/tag/{n}", json=body) for n in range(45)
            ]
            commit = pool.submit(
                http.post,
                "/api/models/alice/a/commit/main",
                content=b'{"key":"header","value":{"summary":"s"}}\n'
                b'{"key":"file","value":{"path":"f","content":"MQ==","encoding":"base64"}}\n',
            )
            assert http.get("/healthz", timeout=5).status_code == 200
            reads = [pool.submit(http.get, file, headers=counted, timeout=5) for _ in range(10)]
            assert [read.result().content for read in reads] == [b"{}"] * 10
            assert http.head(file, timeout=5).status_code == 200
            assert not any(write.done() for write in [*writes, commit])
        assert {write.result().status_code for write in writes} == {404}
        assert commit.result().status_code == 200
        hub.hub.downloads.flush()
        assert hub.api().model_info("alice/a").downloads == 10


def test_counts_outlive_a_busy_database_and_the_end(start_hub, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("fin_qlora_hub.metadata.database.BUSY_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr("fin_qlora_hub.repositories.counting.FLUSH_SECONDS", 1000)
    with start_hub(tmp_path / "data") as hub:
        hub.api().create_repo("alice/a")
        hub.hub.downloads.count(1)
        with hub.hub.database.writing():
            hub.hub.downloads.flush()
        hub.hub.downloads.count(1)
        hub.hub.downloads.count(77)  # of a repository that is gone
    with open_hub(hub.hub.settings) as again, again.database.reading() as session:
        assert session.get_one(Repository, 1).downloads == 2


def test_downloads_are_written_down_in_time(start_hub, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("fin_qlora_hub.repositories.counting.FLUSH_SECONDS", 0.01)
    with start_hub(tmp_path / "data") as hub:
        hub.api().create_repo("alice/a")
        hub.hub.downloads.count(1)
        assert wait_until(lambda: hub.api().model_info("alice/a").downloads)
        assert hub.api().model_info("alice/a").downloads == 1


def test_work_that_failed_once_is_done_the_next_time(caplog) -> None:
    done = []

    def work() -> None:
        done.append(None)
        if len(done) == 1:
            raise RuntimeError("once")

    periodic = Periodic(work, name="work", seconds=lambda: 0.01)
    periodic.begin()
    assert wait_until(lambda: len(done) > 1)
    periodic.close()
    ended = len(done)
    periodic.begin()
    assert "work: the work failed and is tried again" in caplog.text
    assert len(done) == ended


def test_a_failure_inside_shows_nothing_of_the_inside(running, repository, monkeypatch) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr("fin_qlora_hub.repositories.commits.keep_card", broken)
    with running.http() as http:
        body = b'{"key":"header","value":{"summary":"s"}}\n' + (
            b'{"key":"file","value":{"path":"f","content":"MQ==","encoding":"base64"}}\n'
        )
        answer = http.post(f"/api/models/{repository}/commit/main", content=body)
    assert answer.status_code == 500
    assert answer.headers["x-error-code"] == "InternalError"
    assert "secret" not in answer.text
    assert running.api().list_repo_files(repository) == [".gitattributes"]


def test_a_branch_that_always_moves_is_planned_under_the_lock(
    running, repository, monkeypatch
) -> None:
    planned = []

    def plan_late(*arguments, **named):
        plan = plan_commit(*arguments, **named)
        planned.append(plan)
        if len(planned) <= committing.ATTEMPTS:  # somebody else is faster
            monkeypatch.setattr(committing, "plan_commit", plan_commit)
            operation = CommitOperationAdd(f"other{len(planned)}", b"x")
            running.api().create_commit(repository, [operation], commit_message="other")
            monkeypatch.setattr(committing, "plan_commit", plan_late)
        return plan

    monkeypatch.setattr(committing, "plan_commit", plan_late)
    card = b"---\nlicense: mit\n---\n"
    running.api().create_commit(
        repository, [CommitOperationAdd("README.md", card)], commit_message="mine"
    )
    assert len(planned) == committing.ATTEMPTS + 1
    info = running.api().model_info(repository)
    files = {file.rfilename for file in info.siblings}
    assert files == {".gitattributes", "README.md", "other1", "other2", "other3"}
    assert "license:mit" in info.tags


def test_cards_are_read_before_the_lock_is_taken(running, repository, monkeypatch) -> None:
    def describe_free(*arguments, **named):
        with running.hub.database.writing():  # would wait for itself under the lock
            return describe(*arguments, **named)

    monkeypatch.setattr("fin_qlora_hub.cards.descriptions.describe", describe_free)
    running.api().upload_file(
        path_or_fileobj=b"---\nlicense: mit\n---\n", path_in_repo="README.md", repo_id=repository
    )
    assert "license:mit" in running.api().model_info(repository).tags


@pytest.mark.sqlite
def test_a_lost_table_tells_clients_nothing_of_the_server(start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data") as hub, hub.http() as http:
        with hub.hub.database.writing() as session:
            session.connection().exec_driver_sql("DROP TABLE refs")
        hub.hub.database.close()
        answer = http.post("/api/repos/create", json={"name": "b"})
        assert (answer.status_code, answer.headers["x-error-code"]) == (500, "ServerFault")
        assert "sqlite" not in answer.text
        assert str(tmp_path) not in answer.text


def test_commits_at_the_same_time_all_happen(running, repository) -> None:
    def commit(number: int) -> str:
        operation = CommitOperationAdd(f"f{number}", str(number).encode())
        return running.api().create_commit(repository, [operation], commit_message="c").oid

    with ThreadPoolExecutor(8) as pool:
        oids = set(pool.map(commit, range(24)))
    assert len(oids) == 24
    assert len(running.api().list_repo_files(repository)) == 25
    assert {c.commit_id for c in running.api().list_repo_commits(repository)} >= oids


def test_of_conflicting_commits_one_happens(running, repository) -> None:
    head = running.api().model_info(repository).sha

    def commit(number: int) -> int:
        operation = CommitOperationAdd("f", str(number).encode())
        try:
            running.api().create_commit(
                repository, [operation], commit_message=f"{number}", parent_commit=head
            )
        except HfHubHTTPError as error:
            return error.response.status_code
        return 200

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(commit, range(8))) == [200] + [412] * 7


def test_two_hundred_commits_of_many_clients_to_one_branch(running, repository) -> None:
    """Half of them say where they begin, and try again where that has moved: none is lost."""
    clients, each = 32, 7
    begun = Barrier(clients)

    def client(number: int) -> tuple[set[str], int]:
        made, refused = set(), 0
        with running.http() as http:
            begun.wait()
            for turn in range(each):
                name = f"d/{number}-{turn}"
                while True:
                    header: dict[str, str] = {"summary": name}
                    if number % 2:
                        header["parentCommit"] = http.get(f"/api/models/{repository}").json()["sha"]
                    content = base64.b64encode(name.encode()).decode()
                    file = {"path": name, "content": content, "encoding": "base64"}
                    lines = [{"key": "header", "value": header}, {"key": "file", "value": file}]
                    body = "".join(json.dumps(line) + "\n" for line in lines)
                    answer = http.post(f"/api/models/{repository}/commit/main", content=body)
                    if answer.status_code != 412:
                        break
                    refused += 1
                assert answer.status_code == 200, answer.text
                made.add(answer.json()["commitOid"])
                if turn == 0 and not number % 2:  # a client that lost the answer asks again
                    again = http.post(f"/api/models/{repository}/commit/main", content=body)
                    assert again.json()["commitOid"] == answer.json()["commitOid"]
        return made, refused

    with ThreadPoolExecutor(clients) as pool:
        done = list(pool.map(client, range(clients)))
    oids = set().union(*(made for made, _ in done))
    assert len(oids) == clients * each >= 200
    assert sum(refused for _, refused in done) > 0
    history = [commit.commit_id for commit in running.api().list_repo_commits(repository)]
    assert len(history) == len(set(history)) == clients * each + 1
    assert set(history) > oids
    wanted = {f"d/{number}-{turn}" for number in range(clients) for turn in range(each)}
    assert set(running.api().list_repo_files(repository)) == {*wanted, ".gitattributes"}
    assert list(check(running.hub)) == []


def files(running) -> set[str]:
    return contents_of(running.hub.settings).everything()


def test_equal_contents_are_stored_once(running, repository, new_name) -> None:
    before = files(running)
    api = running.api()
    for name in (repository, new_name()):
        api.create_repo(name, exist_ok=True)
        operations = [CommitOperationAdd(path, b"the same content") for path in ("a", "b")]
        api.create_commit(name, operations, commit_message="c")
    assert len(files(running) - before) == 1


def test_a_sweep_removes_only_what_was_never_finished(tmp_path) -> None:
    store = LocalBlobStore(tmp_path)
    kept = store.writer(limit=10)
    kept.write(b"kept")
    staged = kept.finish()
    store.publish([staged])
    lost = store.writer(limit=10)
    lost.write(b"lost")
    lost.finish()
    assert store.sweep() == 1
    assert b"".join(store.read(staged.content.sha256)) == b"kept"
    lost.discard()
