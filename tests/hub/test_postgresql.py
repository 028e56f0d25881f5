"""Two servers on one PostgreSQL database and one directory are as one hub; it may go away."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError
from sqlalchemy import text
from throwaway_postgresql import PostgreSQL

from fin_qlora_hub.care.checking import check, scrub
from fin_qlora_hub.care.collecting import collect
from fin_qlora_hub.errors import NotInitialisedError, UnusableDataError
from fin_qlora_hub.hub import initialise, open_hub
from fin_qlora_hub.metadata import postgresql as dialect
from fin_qlora_hub.metadata.database import Database, place_of
from fin_qlora_hub.metadata.schema import current_form, migrate
from fin_qlora_hub.metadata.tables import Base
from fin_qlora_hub.settings import Settings


@pytest.fixture
def two(start_hub, tmp_path, postgresql):
    """Two servers of one hub."""
    options = {"database_url": postgresql.new_database(), "data_dir": tmp_path / "data"}
    with start_hub(**options) as one, start_hub(**options, tokens=one.tokens) as other:
        for hub in (one, other):
            # FastAPI prepares a route when it is first looked at, and hushes a warning meanwhile
            # for the whole process: two servers in one must not do so at once.
            assert httpx.get(f"{hub.url}/there/is/no/such/place").status_code == 404
        yield one, other


@pytest.fixture
def url(postgresql) -> str:
    return postgresql.new_database()


def test_what_one_does_the_other_shows(two, tmp_path) -> None:
    one, other = (hub.api() for hub in two)
    one.create_repo("desk/a")
    weights = bytes(range(256)) * 5000
    for here, there, name in ((one, other, "1.bin"), (other, one, "2.bin")):
        here.upload_file(path_or_fileobj=weights, path_in_repo=name, repo_id="desk/a")
        path = there.hf_hub_download("desk/a", name, cache_dir=tmp_path / name)
        with open(path, "rb") as handle:
            assert handle.read() == weights
    one.create_tag("desk/a", tag="v1")
    assert [tag.name for tag in other.list_repo_refs("desk/a").tags] == ["v1"]
    other.delete_repo("desk/a")
    assert not one.repo_exists("desk/a")


def test_commits_to_both_at_once_all_happen(two) -> None:
    apis = [hub.api() for hub in two]
    apis[0].create_repo("desk/a")

    def commit(number: int) -> str:
        operation = CommitOperationAdd(f"f{number}", str(number).encode())
        return apis[number % 2].create_commit("desk/a", [operation], commit_message="c").oid

    with ThreadPoolExecutor(8) as pool:
        oids = set(pool.map(commit, range(24)))
    assert len(oids) == 24
    assert len(apis[1].list_repo_files("desk/a")) == 25
    assert len(apis[0].list_repo_commits("desk/a")) == 25
    assert list(check(two[0].hub)) == []


def test_of_conflicting_commits_to_both_one_happens(two) -> None:
    apis = [hub.api() for hub in two]
    apis[0].create_repo("desk/a")
    head = apis[1].model_info("desk/a").sha

    def commit(number: int) -> int:
        operation = CommitOperationAdd("f", str(number).encode())
        try:
            apis[number % 2].create_commit(
                "desk/a", [operation], commit_message=f"{number}", parent_commit=head
            )
        except HfHubHTTPError as error:
            return error.response.status_code
        return 200

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(commit, range(8))) == [200] + [412] * 7


def test_a_repository_made_on_both_is_made_once(two) -> None:
    def create(number: int) -> int:
        with two[number % 2].http() as http:
            return http.post("/api/repos/create", json={"name": "a"}).status_code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(create, range(6))) == [200] + [409] * 5


def test_an_upload_begun_at_one_ends_at_the_other(two, xet, maker) -> None:
    one, other = two
    one.api().create_repo("alice/a")
    data = bytes(range(250)) * 100
    name, body = maker.xorb(data)
    with xet("alice/a", hub=one) as here, xet("alice/a", hub=other) as there:
        grant = here.post(f"v1/xorb-grants/default/{name}", json={"length": len(body)}).json()
        elsewhere = grant["url"].replace(one.url, other.url)
        assert there.put(elsewhere, content=body).json() == {"was_inserted": True}
        assert here.post("v1/shards", content=maker.shard(maker.file(data))).json() == {"result": 1}
        found = there.get(f"v2/reconstructions/{maker.file_hash(data)}").json()["xorbs"][name][0]
        span = found["ranges"][0]["bytes"]
        headers = {"Range": f"bytes={span['start']}-{span['end']}"}
        assert here.get(found["url"].replace(other.url, one.url), headers=headers).content == body


def test_a_xorb_packed_anew_at_one_is_read_right_at_the_other(two, xet, maker) -> None:
    import lz4.frame

    one, other = two
    one.api().create_repo("alice/a")
    data = bytes(25_000)
    name, body = maker.xorb(data)
    found = f"v2/reconstructions/{maker.file_hash(data)}"

    def fetch(http: httpx.Client) -> bytes:
        part = http.get(found).json()["xorbs"][name][0]
        span = part["ranges"][0]["bytes"]
        return http.get(
            part["url"], headers={"Range": f"bytes={span['start']}-{span['end']}"}
        ).content

    with xet("alice/a", hub=one) as here, xet("alice/a", hub=other) as there:
        here.post(f"v1/xorbs/default/{name}", content=body)
        here.post("v1/shards", content=maker.shard(maker.file(data)))
        assert fetch(here) == fetch(there) == body  # both remember its index
        one.hub.xorbs.files.path_of(name).unlink()
        packed = maker.xorb(data, pack=lambda chunk: (1, lz4.frame.compress(chunk)))[1]
        assert there.post(f"v1/xorbs/default/{name}", content=packed).status_code == 200
        assert fetch(here) == fetch(there) == packed
    assert list(scrub(one.hub)) == []


def test_collecting_beside_two_servers_harms_nothing(two) -> None:
    one, other = two
    other.api().create_repo("desk/a")
    other.api().upload_file(path_or_fileobj=b"x", path_in_repo="f", repo_id="desk/a")
    collect(one.hub)
    assert list(check(other.hub)) == []


def test_two_server_processes_share_what_one_sqlite_server_would_not(
    command, tmp_path, served, monkeypatch, url
) -> None:
    monkeypatch.setenv("FIN_QLORA_HUB_DATABASE_URL", url)
    command("init")
    lost = tmp_path / "data" / "blobs" / "incoming" / "lost"
    lost.touch()
    with served(tmp_path / "data") as (_, one):
        assert not lost.exists()
        lost.touch()  # now somebody may be receiving it
        with served(tmp_path / "data") as (_, other):
            for address in (one, other):
                assert httpx.get(f"{address}/healthz").status_code == 200
            assert lost.exists()
            refused = command("restore", str(tmp_path))
            assert refused.returncode in (4, 5)
        monkeypatch.delenv("FIN_QLORA_HUB_DATABASE_URL")
        command("init")
        assert "already served" in command("serve", "--port", "0").stderr


def test_servers_that_start_together_make_the_tables_once(url) -> None:
    place = place_of(Settings(database_url=url))
    with ThreadPoolExecutor(4) as pool:
        forms = set(pool.map(lambda _: migrate(place), range(4)))
    assert forms == {current_form(place)}


def test_migrations_make_the_tables_that_the_code_declares(url) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    place = place_of(Settings(database_url=url))
    migrate(place)
    database = Database(place)
    with database.writing() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Base.metadata) == []
        # every text is ordered by its bytes, whatever the language of the database
        query = text(
            "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' "
            "AND data_type IN ('text', 'character varying') AND collation_name IS DISTINCT FROM 'C'"
        )
        assert session.scalar(query) == 0
        session.execute(text("CREATE TABLE later (name varchar(9) PRIMARY KEY, other text)"))
        dialect.order_by_bytes(session.connection())
        assert session.scalar(query) == 0
    database.close()


def test_a_reader_sees_one_moment_and_a_writer_the_newest(url) -> None:
    place = place_of(Settings(database_url=url))
    migrate(place)
    database = Database(place)
    count = text("SELECT count(*) FROM namespaces")
    insert = text(
        "INSERT INTO namespaces (name, name_key, kind, full_name, created_at) "
        "VALUES (:name, :name, 'user', '', now())"
    )
    with database.reading() as reader:
        assert reader.scalar(count) == 0
        with database.writing() as writer:
            writer.execute(insert, {"name": "a"})
        assert reader.scalar(count) == 0

    def add(number: int) -> None:
        with database.writing() as writer:  # counts and inserts: nobody comes in between
            writer.execute(insert, {"name": str(writer.scalar(count))})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(12)))
    with database.reading() as reader:
        assert reader.scalar(count) == 13
    with pytest.raises(UnusableDataError), database.reading() as reader:
        reader.execute(insert, {"name": "reader"})
    database.close()


@contextmanager
def _own_server():
    server = PostgreSQL()
    try:
        yield server
    finally:
        server.remove()


def test_the_database_goes_and_comes_back(start_hub, tmp_path) -> None:
    with (
        _own_server() as server,
        start_hub(tmp_path / "data", database_url=server.new_database()) as hub,
        hub.http() as http,
    ):
        hub.api().create_repo("alice/a")
        body = b'{"key":"header","value":{"summary":"s"}}\n' + (
            b'{"key":"file","value":{"path":"f","content":"MQ==","encoding":"base64"}}\n'
        )
        server.stop()
        for answer in (
            http.get("/api/models/alice/a"),
            http.post("/api/models/alice/a/commit/main", content=body),
            http.post("/api/repos/create", json={"name": "b"}),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "127.0.0.1" not in answer.text
        assert http.get("/healthz").status_code == 200
        server.start()
        assert http.get("/api/models/alice/a").status_code == 200
        assert http.post("/api/models/alice/a/commit/main", content=body).status_code == 200
        assert hub.api().list_repo_files("alice/a") == [".gitattributes", "f"]
        assert list(check(hub.hub)) == list(scrub(hub.hub)) == []


def test_a_busy_database_is_told(start_hub, tmp_path, url, monkeypatch) -> None:
    monkeypatch.setattr("fin_qlora_hub.metadata.database.BUSY_TIMEOUT_SECONDS", 0.1)
    with start_hub(tmp_path / "data", database_url=url) as hub, hub.http() as http:
        with hub.hub.database.writing():
            start = time.monotonic()
            answer = http.post("/api/repos/create", json={"name": "b"})
            assert time.monotonic() - start < 10
            assert http.get("/api/whoami-v2").status_code == 200
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert http.post("/api/repos/create", json={"name": "b"}).status_code == 200


def test_what_no_text_can_hold_is_no_fault(start_hub, tmp_path, url) -> None:
    with start_hub(tmp_path / "data", database_url=url) as hub, hub.http() as http:
        hub.api().create_repo("alice/a")
        for path in ("/api/models/alice/a%00b", "/alice/a/resolve/main/x%00", "/api/models/%00/a"):
            assert 400 <= http.get(path).status_code < 500
        assert http.get("/api/models?search=%00").status_code < 500


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("postgresql://hub@127.0.0.1:9/hub", "cannot be reached"),
        ("mysql://hub@127.0.0.1/hub", "FIN_QLORA_HUB_DATABASE_URL"),
    ],
)
def test_a_wrong_address_is_told(command, monkeypatch, address, complaint) -> None:
    monkeypatch.setenv("FIN_QLORA_HUB_DATABASE_URL", address.replace("hub@", "hub:secret@"))
    for name in ("init", "serve", "fsck"):
        refused = command(name)
        assert refused.returncode in (2, 4)
        assert complaint in refused.stderr
        assert "secret" not in refused.stderr
        assert "Traceback" not in refused.stderr


def test_databases_that_are_no_hubs(url, tmp_path) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=url)
    with pytest.raises(NotInitialisedError, match="is empty"), open_hub(settings):
        pass
    database = Database(place_of(settings))
    with database.writing() as session:
        session.execute(text("CREATE TABLE somebody_elses (id int)"))
    with pytest.raises(UnusableDataError, match="belongs to another program"):
        initialise(settings)
    with database.writing() as session:
        session.execute(text("DROP TABLE somebody_elses"))
    assert initialise(settings)
    with database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UnusableDataError, match="newer version"), open_hub(settings):
        pass
    database.close()
    assert "hidden" not in repr(Settings(database_url="postgresql://hub:hidden@h/hub"))
