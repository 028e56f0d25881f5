"""A running hub, its users, and the ways in which tests talk to it."""

import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi

from fin_qlora_hub.access.identity import Role, add_organization, add_user, create_token, grant
from fin_qlora_hub.app import create_app
from fin_qlora_hub.cli import main
from fin_qlora_hub.hub import Hub, initialise, open_hub
from fin_qlora_hub.serving import Server
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.xet import hashes

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))
from throwaway_postgresql import PostgreSQL
from throwaway_s3 import Moto, Swift, ThrowawayS3, missing

_NUMBERS = count()
# Where the metadata and the contents are in tests that do not choose: `sqlite` or `postgresql`,
# `disk` or `s3`.
DATABASE = os.environ.get("FIN_QLORA_HUB_TEST_DATABASE", "sqlite")
STORAGE = os.environ.get("FIN_QLORA_HUB_TEST_STORAGE", "disk")
CHOSEN = {"FIN_QLORA_HUB_TEST_DATABASE", "FIN_QLORA_HUB_TEST_STORAGE"} & set(os.environ)
# These run on SQLite and the disk, and again on PostgreSQL and S3, unless a variable above chooses.
ON_BOTH = {
    "test_access",
    "test_audit",
    "test_backup",
    "test_bundles",
    "test_commits",
    "test_crashes",
    "test_discussions",
    "test_lists",
    "test_maintenance",
    "test_mirror",
    "test_moving",
    "test_rewriting",
    "test_trees",
    "test_webhooks",
    "test_xet_client",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kept_in" in metafunc.fixturenames:
        both = metafunc.module.__name__.rpartition(".")[2] in ON_BOTH and not CHOSEN
        places = [("sqlite", "disk"), ("postgresql", "s3")] if both else [(DATABASE, STORAGE)]
        metafunc.parametrize("kept_in", places, ids="-".join, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        values = item.callspec.params if hasattr(item, "callspec") else {}
        database, storage = values.get("kept_in", (DATABASE, STORAGE))
        if item.get_closest_marker("sqlite") and database != "sqlite":
            item.add_marker(pytest.mark.skip(reason="about the file of SQLite"))
        if item.get_closest_marker("disk") and storage != "disk":
            item.add_marker(pytest.mark.skip(reason="about the files of contents on the disk"))
        if item.get_closest_marker("s3") and storage != "s3":
            item.add_marker(pytest.mark.skip(reason="about a bucket"))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server that only the tests use."""
    server = PostgreSQL()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def moto() -> Iterator[ThrowawayS3]:
    """An S3 server that only the tests use; it believes every signature."""
    yield from _s3(Moto)


@pytest.fixture(scope="session")
def swift() -> Iterator[ThrowawayS3]:
    """An S3 server that only the tests use; it checks signatures and when they end."""
    yield from _s3(Swift)


def _s3(kind: type[ThrowawayS3]) -> Iterator[ThrowawayS3]:
    absent = missing(kind.name)
    if absent:
        pytest.skip(absent)
    server = kind()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def kept_in(request) -> tuple[str, str]:
    """Where the metadata and the contents are: `sqlite` or `postgresql`, `disk` or `s3`."""
    return request.param


@pytest.fixture(scope="session")
def database(kept_in, request) -> Callable[[], str | None]:
    """Make a place for metadata: call it for the address of a database, or None for a file."""
    if kept_in[0] == "sqlite":
        return lambda: None
    return request.getfixturevalue("postgresql").new_database


@pytest.fixture(scope="session")
def storage(kept_in, request) -> Callable[[Path], dict[str, str]]:
    """Make a place for contents: call it with a data directory for the settings of its store."""
    if kept_in[1] == "disk":
        return lambda data_dir: {}
    server = request.getfixturevalue("moto")
    bucket = server.new_bucket()

    def settings(data_dir: Path) -> dict[str, str]:
        prefix = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
        return server.settings(bucket, prefix=prefix)

    return settings


@dataclass(frozen=True)
class RunningHub:
    """A hub that listens, and one token for each kind of caller.

    alice owns the organization `desk`, where bob may read and walter may write. carol is in no
    organization. `alice-read` is a token of alice that only reads.
    """

    url: str
    hub: Hub
    tokens: dict[str, str] = field(repr=False)

    def api(self, caller: str = "alice") -> HfApi:
        """Return the stock client of a caller; `anonymous` sends no token."""
        token: str | bool = False if caller == "anonymous" else self.tokens[caller]
        return HfApi(endpoint=self.url, token=token)

    def http(self, caller: str = "alice") -> httpx.Client:
        """Return a plain HTTP client of a caller."""
        headers = {}
        if caller != "anonymous":
            headers["Authorization"] = f"Bearer {self.tokens[caller]}"
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def environment(self, home: Path, caller: str = "alice") -> dict[str, str]:
        """Return all that a newcomer's shell would have: the two variables, and nothing else."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ["PYTHONPATH"],
            "HOME": str(home),
            "OMP_NUM_THREADS": "1",
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.tokens[caller],
        }


@contextmanager
def running_hub(
    data_dir: Path, *, tokens: dict[str, str] | None = None, **options: object
) -> Iterator[RunningHub]:
    """Run a hub in a thread, on a free port of the loopback address.

    `tokens` are those of a hub that is there already and gets another server.
    """
    settings = Settings(data_dir=data_dir, **options)
    initialise(settings)
    with open_hub(settings) as hub, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        tokens = tokens or _add_people(hub)
        listening = threading.Event()
        server = Server(
            create_app(hub),
            on_listening=listening.set,
            trusted_proxies=settings.trusted_proxies,
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert listening.wait(20)
            port = listener.getsockname()[1]
            yield RunningHub(f"http://127.0.0.1:{port}", hub, tokens)
        finally:
            server.should_exit = True
            thread.join(20)
        assert not thread.is_alive()


def _add_people(hub: Hub) -> dict[str, str]:
    people = ("alice", "bob", "carol", "walter")
    with hub.database.writing() as session:
        for name in people:
            add_user(session, name)
        add_organization(session, "desk", owner="alice")
        grant(session, "desk", "bob", role=Role.READ)
        grant(session, "desk", "walter", role=Role.WRITE)
        tokens = {
            name: create_token(session, name, name="test", role=Role.WRITE) for name in people
        }
        tokens["alice-read"] = create_token(session, "alice", name="read", role=Role.READ)
    return tokens


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, database, storage) -> Iterator[RunningHub]:
    """One hub for all tests that do not harm it."""
    folder = tmp_path_factory.mktemp("hub") / "data"
    with running_hub(folder, database_url=database(), **storage(folder)) as hub:
        yield hub


@pytest.fixture
def api(running: RunningHub) -> HfApi:
    """The stock client of alice."""
    return running.api()


@pytest.fixture
def new_name() -> Callable[..., str]:
    """Make repository ids that no other test uses."""
    return lambda namespace="alice": f"{namespace}/repository-{next(_NUMBERS)}"


@pytest.fixture
def repository(api: HfApi, new_name: Callable[..., str]) -> str:
    """The id of a fresh private repository of alice."""
    name = new_name()
    api.create_repo(name)
    return name


@pytest.fixture
def shared(api: HfApi, new_name: Callable[..., str]) -> str:
    """The id of a fresh private repository of the organization."""
    name = new_name("desk")
    api.create_repo(name)
    return name


@pytest.fixture(scope="session")
def open_a_hub(database, storage) -> Callable[..., AbstractContextManager[RunningHub]]:
    """Start a hub for the tests of a module: `with open_a_hub(data_dir, max_file_bytes=100)`."""

    def start(data_dir: Path, **options: object) -> AbstractContextManager[RunningHub]:
        where = {"database_url": database(), **storage(data_dir)}
        return running_hub(data_dir, **{**where, **options})

    return start


@pytest.fixture
def start_hub(open_a_hub) -> Callable[..., AbstractContextManager[RunningHub]]:
    """Start a hub of the test's own: `with start_hub(data_dir, max_file_bytes=100) as hub`."""
    return open_a_hub


class XetMaker:
    """Plays hf_xet: cuts bytes into chunks of a fixed size, and makes xorbs and shards of them."""

    CHUNK = 10_000

    def chunks(self, data: bytes) -> list[bytes]:
        return [data[at : at + self.CHUNK] for at in range(0, len(data), self.CHUNK)]

    def xorb(self, data: bytes, *, pack: Callable[[bytes], tuple[int, bytes]] | None = None):
        """Return the hash and the body of a xorb; `pack` gives scheme and packed bytes."""
        body, nodes = b"", []
        for chunk in self.chunks(data):
            scheme, packed = pack(chunk) if pack else (0, chunk)
            body += bytes([0]) + len(packed).to_bytes(3, "little")
            body += bytes([scheme]) + len(chunk).to_bytes(3, "little") + packed
            nodes.append((hashes.chunk_hash(chunk), len(chunk)))
        return hashes.to_text(hashes.merkle_root(nodes)), body

    def nodes(self, data: bytes) -> list[tuple[bytes, int]]:
        return [(hashes.chunk_hash(chunk), len(chunk)) for chunk in self.chunks(data)]

    def file_hash(self, data: bytes) -> str:
        return hashes.to_text(hashes.file_hash(self.nodes(data)))

    def shard(self, *files: bytes) -> bytes:
        return self.header() + b"".join(files) + self.end() + self.end()

    def header(self) -> bytes:
        tag = "48465265706f4d6574614461746100556967456a7b815783a5bdd95ccdd14aa9"
        return struct.pack("<32sQQ", bytes.fromhex(tag), 2, 0)

    def end(self) -> bytes:
        return struct.pack("<32s4I", b"\xff" * 32, 0, 0, 0, 0)

    def file(
        self,
        data: bytes,
        *,
        xorb: str | None = None,
        file_hash: str | None = None,
        sha256: str | None = None,
        run: bytes | None = None,
        size: int | None = None,
        start: int = 0,
        end: int | None = None,
        flags: int = 3 << 30,
    ) -> bytes:
        """Return the records of a file that is one run of chunks of one xorb, lies included."""
        nodes = self.nodes(data)
        record = struct.Struct("<32s4I").pack
        known = b"".join(chunk for chunk, _ in nodes)
        raw = hashes.from_text(file_hash or self.file_hash(data))
        digest = hashes.from_text(sha256 or hashlib.sha256(data).hexdigest())
        return (
            record(raw, flags, 1, 0, 0)
            + record(
                hashes.from_text(xorb or self.xorb(data)[0]),
                0,
                len(data) if size is None else size,
                start,
                len(nodes) if end is None else end,
            )
            + record(run or hashes.run_hash(known), 0, 0, 0, 0)
            + record(digest, 0, 0, 0, 0)
        )


@pytest.fixture
def maker() -> XetMaker:
    """Makes what hf_xet would send."""
    return XetMaker()


@pytest.fixture
def xet(running) -> Callable[..., AbstractContextManager[httpx.Client]]:
    """Open the chunk store for a repository: `with xet(name, scope="read") as http`."""

    @contextmanager
    def connect(name: str, *, caller: str = "alice", scope: str = "write", hub=None):
        hub = hub or running
        with hub.http(caller) as http:
            answer = http.get(f"/api/models/{name}/xet-{scope}-token/main")
            answer.raise_for_status()
        given = answer.json()
        headers = {"Authorization": f"Bearer {given['accessToken']}"}
        with httpx.Client(base_url=given["casUrl"], headers=headers, timeout=30) as client:
            yield client

    return connect


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python in a fresh process that has no other environment than is given."""

    def run(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env=env,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    return run


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(tmp_path, monkeypatch, capsys, database, storage):
    """Run a command line in this process, which spares the time of starting one."""
    mask = os.umask(0o022)
    monkeypatch.setenv("FIN_QLORA_HUB_DATA_DIR", str(tmp_path / "data"))
    url = database()
    if url is not None:
        monkeypatch.setenv("FIN_QLORA_HUB_DATABASE_URL", url)
    for name, value in storage(tmp_path / "data").items():
        monkeypatch.setenv(f"FIN_QLORA_HUB_{name.upper()}", value)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["fin-qlora-hub", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return Done(end.value.code or 0, *capsys.readouterr())

    yield run
    os.umask(mask)


@pytest.fixture
def at(monkeypatch) -> Callable[[RunningHub], None]:
    """Let commands act on a hub from now on: `at(hub)`."""

    def choose(hub: RunningHub) -> None:
        for name in Settings.model_fields:
            monkeypatch.delenv(f"FIN_QLORA_HUB_{name.upper()}", raising=False)
        for name, value in hub.hub.settings.model_dump(exclude_unset=True).items():
            if value is not None:
                plain = value.get_secret_value() if hasattr(value, "get_secret_value") else value
                monkeypatch.setenv(f"FIN_QLORA_HUB_{name.upper()}", str(plain))

    return choose


@contextmanager
def _served(data_dir: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    line = [sys.executable, "-m", "fin_qlora_hub", "serve", "--data-dir", str(data_dir)]
    with (
        (data_dir.parent / "log").open("a") as log,
        subprocess.Popen(
            [*line, "--port", "0", "--format", "json", *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield process, json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()


@pytest.fixture
def served() -> Callable[..., AbstractContextManager[tuple[subprocess.Popen[str], str]]]:
    """Start a server as a process of its own: `with served(data_dir) as (process, url)`."""
    return _served


@pytest.fixture
def hf(running, tmp_path):
    """Run the stock command line against the hub; give what it printed."""
    program = Path(sys.executable).with_name("hf")
    environment = running.environment(tmp_path)
    environment["HF_HUB_DISABLE_UPDATE_CHECK"] = "1"  # it would ask the package index

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [program, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
