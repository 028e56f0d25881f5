"""How fast the hub takes and gives large files, how much memory it needs, how soon it answers.

    python benchmarks/hub.py [--part PART] [--quick] [--json FILE]

A server of its own runs on a temporary store and a free loopback port; client and server share the
machine.

- transfer: the stock client sends and fetches 200 MB of random bytes, by Xet and by Git LFS
  (HF_HUB_DISABLE_XET=1), in turns, each time as a fresh process with an empty cache. Only the call
  itself is timed. The aim is 0.6 (up) and 0.9 (down) of the speed of LFS, the floor 0.41 and 0.67.
- edit: the second version of that file, with 37 bytes inserted and 10 changed, from a client with
  an empty cache; every byte that it sends is counted. The limit is 0.1 % of the file.
- memory: 64 uploads of 48 MB at once; the server's resident memory is read every 5 ms. The limit is
  600 MB.
- requests: 1,000 repositories with 10 commits each, 200 requests a second; the limit for the 99th
  percentile is 25 ms.
- scale: the same requests with 1,000, 10,000 and 100,000 repositories, and the list of somebody who
  may see ten of them: what the server works for each, in processor time, which a busy machine
  changes less than the wait.
- start: from starting the process to its first answer; the limit is 2 s.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from hub_commit_memory import MIB, Watch, hub_command, server
from report import Row, report, table, write

FILE_BYTES = 200_000_000
UPLOADS = 64
UPLOAD_BYTES = 48_000_000
CHUNK_BYTES = 64 * 1024
REPOSITORIES = 1000
COMMITS = 10
REQUESTS_PER_SECOND = 200
SCALES = (1_000, 10_000, 100_000)
SEEN_BY_FEW = 10
CONNECTIONS = 16
EDIT_LIMIT = 0.001
MEMORY_LIMIT_BYTES = 600_000_000
REQUEST_LIMIT_SECONDS = 0.025
START_LIMIT_SECONDS = 2.0
SEED = 20260102

UP = """
import sys, time
from huggingface_hub import HfApi
api = HfApi()
api.whoami()
start = time.perf_counter()
api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo="w.safetensors", repo_id=sys.argv[1])
print(time.perf_counter() - start)
"""
DOWN = """
import sys, time
from huggingface_hub import HfApi
api = HfApi()
api.whoami()
start = time.perf_counter()
path = api.hf_hub_download(sys.argv[1], "w.safetensors")
print(time.perf_counter() - start)
assert open(path, "rb").read() == open(sys.argv[2], "rb").read()
"""


class Bench:
    """A hub with one user, and the ways in which the measurements use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "hub"
        hub_command(self.data_dir, "init")
        hub_command(self.data_dir, "user", "add", "bench")
        words = ("token", "create", "bench", "--name", "bench", "--role", "write")
        self.token = hub_command(self.data_dir, *words, "--format", "quiet")

    def client(self, program: str, *arguments: object, url: str, xet: bool) -> float:
        """Run a program in a fresh process with an empty cache; return the seconds it printed."""
        with tempfile.TemporaryDirectory(dir=self.folder) as home:
            env = {
                **{k: v for k, v in os.environ.items() if not k.startswith("HF_")},
                "HF_ENDPOINT": url,
                "HF_HOME": home,
                "HF_TOKEN": self.token,
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "HF_HUB_DISABLE_XET": "" if xet else "1",
            }
            done = subprocess.run(
                [sys.executable, "-c", program, *map(str, arguments)],
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            raise SystemExit(done.stderr)
        return float(done.stdout.split()[-1])


def new_file(path: Path, generator: random.Random) -> Path:
    """Write 200 MB of random bytes."""
    path.write_bytes(generator.randbytes(FILE_BYTES))
    return path


def measure_transfer(folder: Path, *, runs: int) -> tuple[list[Row], dict[str, float]]:
    """Time uploads and downloads of both kinds, in turns."""
    from huggingface_hub import HfApi

    bench, generator = Bench(folder), random.Random(SEED)
    seconds: dict[tuple[str, str], list[float]] = {}
    with server(bench.data_dir) as (_, url):
        api = HfApi(endpoint=url, token=bench.token)
        for run in range(runs):
            for side in ("Xet", "LFS"):
                name = f"bench/{side.lower()}-{run}"
                api.create_repo(name)
                file = new_file(folder / "w", generator)
                for figure, program in (("upload", UP), ("download", DOWN)):
                    taken = bench.client(program, name, file, url=url, xet=side == "Xet")
                    seconds.setdefault((side, figure), []).append(taken)
    rows = []
    for (side, figure), values in seconds.items():
        speed = FILE_BYTES / statistics.median(values) / 1e6
        rows.append(Row(side, f"{figure} of 200 MB, median of {runs}", "MB/s", speed))
        rows.append(Row(side, f"{figure}, quickest", "MB/s", FILE_BYTES / min(values) / 1e6))
        rows.append(Row(side, f"{figure}, slowest", "MB/s", FILE_BYTES / max(values) / 1e6))
    ratios = {
        f"{figure} by Xet to LFS (speed)": statistics.median(seconds["LFS", figure])
        / statistics.median(seconds["Xet", figure])
        for figure in ("upload", "download")
    }
    return rows, ratios


@contextmanager
def counting_proxy(url: str) -> Iterator[tuple[str, list[int]]]:
    """Stand between client and server and count what the client sends, in bytes."""
    target = (urlsplit(url).hostname or "", urlsplit(url).port or 0)
    sent = [0]

    def copy(source: socket.socket, sink: socket.socket, *, count: bool) -> None:
        try:
            while data := source.recv(MIB):
                if count:
                    sent[0] += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(target)
            for pair, count in (((client, upstream), True), ((upstream, client), False)):
                threading.Thread(
                    target=copy, args=pair, kwargs={"count": count}, daemon=True
                ).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent


def measure_edit(folder: Path, *, runs: int) -> tuple[list[Row], dict[str, float]]:
    """Count what the second version of a file costs, from a client that knows nothing."""
    from huggingface_hub import HfApi

    bench, generator = Bench(folder), random.Random(SEED + 1)
    shares, times = [], []
    with server(bench.data_dir) as (_, url), counting_proxy(url) as (proxy, sent):
        api = HfApi(endpoint=url, token=bench.token)
        for run in range(runs):
            name = f"bench/edit-{run}"
            api.create_repo(name)
            file = new_file(folder / "w", generator)
            bench.client(UP, name, file, url=url, xet=True)
            data = bytearray(file.read_bytes())
            data[50_000_000:50_000_000] = b"thirty-seven bytes are inserted here."
            data[150_000_000:150_000_010] = b"ten bytes."
            file.write_bytes(data)
            before = sent[0]
            times.append(bench.client(UP, name, file, url=proxy, xet=True))
            shares.append((sent[0] - before) / len(data))
            bench.client(DOWN, name, file, url=url, xet=True)
    share = statistics.median(shares)
    rows = [
        Row("Xet", f"bytes sent for the second version, median of {runs}", "%", share * 100),
        Row("Xet", "bytes sent, most", "%", max(shares) * 100),
        Row("Xet", "upload of the second version, median", "s", statistics.median(times)),
    ]
    return rows, {"bytes sent for a small edit to the limit of 0.1 %": max(shares) / EDIT_LIMIT}


def xorb_bodies(generator: random.Random) -> Iterator[tuple[str, list[bytes]]]:
    """Yield names and bodies of xorbs that differ in their first chunk alone."""
    from fin_qlora_hub.xet import hashes

    def packed(chunk: bytes) -> bytes:
        size = len(chunk).to_bytes(3, "little")
        return b"\0" + size + b"\0" + size + chunk

    chunks = [generator.randbytes(CHUNK_BYTES) for _ in range(UPLOAD_BYTES // CHUNK_BYTES)]
    nodes = [(hashes.chunk_hash(chunk), len(chunk)) for chunk in chunks]
    rest = b"".join(map(packed, chunks[1:]))
    while True:
        first = generator.randbytes(CHUNK_BYTES)
        root = hashes.merkle_root([(hashes.chunk_hash(first), len(first)), *nodes[1:]])
        yield hashes.to_text(root), [packed(first), rest]


def measure_memory(folder: Path, *, runs: int) -> tuple[list[Row], dict[str, float]]:
    """Send 64 xorbs of 48 MB at once, and 64 files by LFS."""
    from huggingface_hub import HfApi

    bench, generator = Bench(folder), random.Random(SEED + 2)
    bodies = xorb_bodies(generator)
    rows, peaks = [], []
    with server(bench.data_dir) as (process, url):
        HfApi(endpoint=url, token=bench.token).create_repo("bench/memory")
        headers = {"Authorization": f"Bearer {bench.token}"}
        request = urllib.request.Request(
            f"{url}/api/models/bench/memory/xet-write-token/main", headers=headers
        )
        with urllib.request.urlopen(request) as answer:
            given = json.load(answer)
        cas = urlsplit(given["casUrl"])

        def send(wanted: tuple[str, list[bytes]]) -> int:
            name, parts = wanted
            for _ in range(20):  # the server may ask to come again
                connection = http.client.HTTPConnection(cas.netloc, timeout=300)
                try:
                    connection.request(
                        "POST",
                        f"{cas.path}/v1/xorbs/default/{name}",
                        body=iter(parts),
                        headers={
                            "Authorization": f"Bearer {given['accessToken']}",
                            "Content-Length": str(sum(map(len, parts))),
                        },
                    )
                    status = connection.getresponse().status
                    if status == 200:
                        return status
                except OSError:
                    pass
                finally:
                    connection.close()
                time.sleep(1)
            raise SystemExit(f"the server did not take the xorb {name}")

        for _ in range(runs):
            wanted = [next(bodies) for _ in range(UPLOADS)]
            with Watch(process) as watch, ThreadPoolExecutor(UPLOADS) as pool:
                start = time.perf_counter()
                list(pool.map(send, wanted))
                seconds = time.perf_counter() - start
            peaks.append(watch.peak)
        rows.append(Row("server", "memory before", "MB", watch.before / 1e6))
        rows.append(Row("server", f"memory under {UPLOADS} uploads, most", "MB", max(peaks) / 1e6))
        speed = UPLOADS * UPLOAD_BYTES / seconds / 1e6
        rows.append(Row("server", f"{UPLOADS} uploads at once, together", "MB/s", speed))
    return rows, {"memory under 64 uploads to the limit": max(peaks) / MEMORY_LIMIT_BYTES}


def fill(data_dir: Path, *, repositories: int) -> None:
    """Make repositories with ten commits each, without going over HTTP."""
    from fin_qlora_hub.commits import carry_out, plan_commit
    from fin_qlora_hub.hub import open_hub
    from fin_qlora_hub.identity import Caller, Role, find_user
    from fin_qlora_hub.operations import AddFile, Change
    from fin_qlora_hub.repositories import Kind, RepositoryName, create
    from fin_qlora_hub.settings import Settings

    with open_hub(Settings(data_dir=data_dir)) as hub:
        for number in range(repositories):
            with hub.database.writing() as session:
                user = find_user(session, "bench")
                caller = Caller(
                    user_id=user.id,
                    name=user.name,
                    full_name=user.full_name,
                    email=None,
                    token_name="bench",
                    token_role=Role.WRITE,
                    token_created_at=user.created_at,
                )
                name = RepositoryName(Kind.MODEL, "bench", f"repository-{number}")
                repository = create(session, hub.storage, name, private=True, caller=caller)
                for turn in range(COMMITS):
                    writer = hub.blobs.writer(limit=1000)
                    writer.write(f"---\ntags: [t{number % 50}]\n---\n{turn}\n".encode())
                    staged = writer.finish()
                    change = Change(f"commit {turn}", "", [AddFile("README.md", staged)])
                    plan = plan_commit(
                        *(session, hub.storage, repository),
                        branch="main",
                        change=change,
                        author=caller,
                    )
                    hub.blobs.publish(change.blobs)
                    carry_out(session, repository, plan, author=caller)


async def load(url: str, token: str, path: Callable[[int], str], *, count: int) -> list[float]:
    """Send requests at a fixed rate; return for each the seconds since it was due."""
    place = urlsplit(url)
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncio.open_connection(place.hostname, place.port))
    taken: list[float] = []

    async def one(number: int, due: float) -> None:
        reader, writer = await free.get()
        method, _, target = path(number).partition(" ")
        writer.write(
            f"{method} {target} HTTP/1.1\r\nHost: {place.netloc}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise SystemExit(head.decode())
        if method != "HEAD":
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        taken.append(time.perf_counter() - due)
        free.put_nowait((reader, writer))

    start = time.perf_counter()
    running = []
    for number in range(count):
        due = start + number / REQUESTS_PER_SECOND
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        running.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*running)
    while not free.empty():
        free.get_nowait()[1].close()
    return taken


def measure_requests(
    folder: Path, *, runs: int, repositories: int = REPOSITORIES
) -> tuple[list[Row], dict[str, float]]:
    """Ask for information, lists and headers, each kind by itself."""
    bench = Bench(folder)
    fill(bench.data_dir, repositories=repositories)
    kinds: dict[str, Callable[[int], str]] = {
        "information": lambda n: f"GET /api/models/bench/repository-{n * 7919 % repositories}",
        "list of 30": lambda n: f"GET /api/models?limit=30&filter=t{n % 50}",
        "HEAD resolve": lambda n: (
            f"HEAD /bench/repository-{n * 7919 % repositories}/resolve/main/README.md"
        ),
    }
    rows, ratios = [], {}
    with server(bench.data_dir) as (process, url):
        for kind, path in kinds.items():
            asyncio.run(load(url, bench.token, path, count=200))
            count = 1000 * runs
            before = process.cpu_times()
            taken = sorted(asyncio.run(load(url, bench.token, path, count=count)))
            after = process.cpu_times()
            spent = after.user + after.system - before.user - before.system
            p99 = taken[int(len(taken) * 0.99)]
            rows.append(Row(kind, "the server's work for each", "ms", spent / count * 1000))
            rows.append(Row(kind, "median", "ms", statistics.median(taken) * 1000))
            rows.append(Row(kind, f"99th percentile of {count}", "ms", p99 * 1000))
            ratios[f"99th percentile of {kind} to the limit"] = p99 / REQUEST_LIMIT_SECONDS
    return rows, ratios


def multiply(database: Path, *, repositories: int) -> None:
    """Copy the one repository there is, in all that requests for its head read.

    The first ten copies, the oldest in lists, belong to the user `few`, who sees no other.
    """
    many = "WITH RECURSIVE many(n) AS (VALUES(?) UNION ALL SELECT n + 1 FROM many WHERE n < ?)"

    def columns(table: str, **changed: str) -> tuple[str, str]:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        return ", ".join(names), ", ".join(changed.get(name, f"t.{name}") for name in names)

    with closing(sqlite3.connect(database)) as connection, connection:
        (known,) = connection.execute("SELECT max(id) FROM repositories").fetchone()
        (few,) = connection.execute("SELECT id FROM namespaces WHERE name = 'few'").fetchone()
        span = (known + 1, repositories)
        number = "'repository-' || (many.n - 1)"
        names, values = columns(
            "repositories",
            id="many.n",
            name=number,
            name_key=number,
            namespace_id=f"iif(many.n <= {SEEN_BY_FEW + 1}, {few}, t.namespace_id)",
            updated_at="datetime(t.updated_at, '+' || many.n || ' seconds')",
        )
        connection.execute(
            f"INSERT INTO repositories ({names}) {many} SELECT {values} FROM many, "
            "repositories t WHERE t.id = 1",
            span,
        )
        for table, kept in (
            ("refs", "1"),
            ("commits", "t.oid = (SELECT commit_oid FROM refs WHERE repository_id = 1)"),
            ("tree_entries", "1"),
            ("files", "1"),
        ):
            names, values = columns(table, repository_id="many.n")
            connection.execute(
                f"INSERT INTO {table} ({names}) {many} SELECT {values} FROM many, {table} t "
                f"WHERE t.repository_id = 1 AND {kept}",
                span,
            )
        connection.execute(
            f"INSERT INTO repository_tags (repository_id, tag) {many} "
            "SELECT n, 't' || (n % 50) FROM many",
            span,
        )


def asked(names: Sequence[str], line: str) -> Callable[[int], str]:
    """Return what asks for one after another, in no order that a cache would like."""
    return lambda number: line.format(names[number * 7919 % len(names)])


def measure_scale(
    folder: Path, *, runs: int, scales: Sequence[int] = SCALES
) -> tuple[list[Row], dict[str, float]]:
    """Ask the same of more and more repositories."""
    bench = Bench(folder)
    hub_command(bench.data_dir, "user", "add", "few")
    words = ("token", "create", "few", "--name", "bench", "--role", "write", "--format", "quiet")
    few = hub_command(bench.data_dir, *words)
    fill(bench.data_dir, repositories=1)
    work: dict[str, dict[int, float]] = {}
    rows = []
    for scale in scales:
        multiply(bench.data_dir / "hub.sqlite3", repositories=scale)
        names = [f"bench/repository-{n}" for n in range(SEEN_BY_FEW + 1, scale)]
        kinds: dict[str, tuple[str, Callable[[int], str]]] = {
            "information": (
                bench.token,
                asked(names, "GET /api/models/{}"),
            ),
            "list of 30": (bench.token, lambda n: f"GET /api/models?limit=30&filter=t{n % 50}"),
            "list of one who sees few": (few, lambda n: "GET /api/models?limit=30"),
            "HEAD resolve": (
                bench.token,
                asked(names, "HEAD /{}/resolve/main/README.md"),
            ),
        }
        with server(bench.data_dir) as (process, url):
            for kind, (token, path) in kinds.items():
                asyncio.run(load(url, token, path, count=100))
                before, count = process.cpu_times(), 400 * runs
                asyncio.run(load(url, token, path, count=count))
                after = process.cpu_times()
                spent = after.user + after.system - before.user - before.system
                work.setdefault(kind, {})[scale] = spent / count
                figure = f"work for each of {count} with {scale:,} repositories"
                rows.append(Row(kind, figure, "ms", spent / count * 1000))
    least, most = min(scales), max(scales)
    ratios = {
        f"work for {kind} with {most:,} repositories to {least:,}": spent[most] / spent[least]
        for kind, spent in work.items()
    }
    return rows, ratios


def measure_start(folder: Path, *, runs: int) -> tuple[list[Row], dict[str, float]]:
    """Start the server again and again."""
    bench = Bench(folder)
    taken = []
    for _ in range(runs + 1):  # the first fills the caches of the disk
        start = time.perf_counter()
        with server(bench.data_dir) as (_, url):
            with urllib.request.urlopen(f"{url}/healthz") as answer:
                answer.read()
            taken.append(time.perf_counter() - start)
    seconds = statistics.median(taken[1:])
    rows = [Row("server", f"start to first answer, median of {runs}", "s", seconds)]
    return rows, {"start to the limit of 2 s": seconds / START_LIMIT_SECONDS}


PARTS = {
    "transfer": (measure_transfer, 7),
    "edit": (measure_edit, 3),
    "memory": (measure_memory, 2),
    "requests": (measure_requests, 3),
    "scale": (measure_scale, 2),
    "start": (measure_start, 7),
}


def main() -> None:
    """Measure, print the table and, where asked, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this; may be repeated")
    parser.add_argument("--quick", action="store_true", help="one run of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    arguments = parser.parse_args()
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    rows: list[Row] = []
    ratios: dict[str, float] = {}
    for part in arguments.part or PARTS:
        measure, runs = PARTS[part]
        with tempfile.TemporaryDirectory() as folder:
            found, parts = measure(Path(folder), runs=1 if arguments.quick else runs)
        rows += found
        ratios |= parts
    print(table(rows))
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.3g}")
    if arguments.json:
        packages = (
            *("fin-qlora-hub", "fastapi", "uvicorn", "sqlalchemy", "huggingface-hub", "hf-xet"),
            *("blake3", "lz4"),
        )
        name = "_".join(["hub", *(arguments.part or [])])
        write(arguments.json, report(name, rows, packages=packages, seed=SEED, ratios=ratios))


if __name__ == "__main__":
    main()
