"""What the hub's record of acts costs: CPU of a write and of a download, its bytes, its check.

    python benchmarks/hub_audit.py [--quick] [--json FILE]

Records are written as commits write them, one in each transaction, and as reads are, a thousand
at once; then the whole chain is verified. Downloads of a small file are asked of a server of its
own over eight kept connections, with reads on record and without, in turn. The CPU time is read
from the system, so that a busy machine changes little.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from hub_commit_memory import hub_command, server
from report import Row, report, table, write

from fin_qlora_hub.audit.acting import Actor, Means
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import Entry, Place, record_all, verify
from fin_qlora_hub.hub import initialise, open_hub
from fin_qlora_hub.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = 1000
LANES = 8
ALICE = Actor(Means.REQUEST, "alice", "laptop", "10.20.30.40", "0123456789abcdef" * 2)
DETAILS = {
    "ref": "refs/heads/main",
    "former": "0" * 40,
    "commit": "1" * 40,
    "title": "Upload adapter_model.safetensors with huggingface_hub",
}


def entries(count: int) -> list[Entry]:
    """Make what as many commits put on record."""
    place = Place(1234, "credit-desk/ner-lora")
    return [
        Entry(Act.BRANCH_COMMITTED, ALICE, datetime.now(UTC), place, DETAILS) for _ in range(count)
    ]


def size_of(path: Path) -> int:
    """Return the bytes of a database with all that was written to it."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def measure_records(folder: Path, *, records: int) -> list[Row]:
    """Write records and verify them."""
    settings = Settings(data_dir=folder / "records")
    initialise(settings)
    with open_hub(settings) as hub:
        before = size_of(settings.database_path)
        begun = time.process_time()
        for _ in range(records // AT_ONCE):
            with hub.database.writing() as session:
                record_all(session, entries(AT_ONCE))
        batched = (time.process_time() - begun) / records
        grown = (size_of(settings.database_path) - before) / records
        begun = time.process_time()
        with hub.database.writing() as session:
            for one in entries(AT_ONCE):
                record_all(session, [one])
        single = (time.process_time() - begun) / AT_ONCE
        begun = time.perf_counter()
        with hub.database.reading() as session:
            assert list(verify(session, [])) == []
        seconds = (time.perf_counter() - begun) / (records + AT_ONCE)
    return [
        Row("record", "CPU of one, with an act", "us", single * 1e6),
        Row("record", "CPU of one of a thousand", "us", batched * 1e6),
        Row("record", "size in SQLite, indexes and all", "B", grown),
        Row("record", "verifying 100,000", "s", seconds * 100_000),
    ]


async def download(url: str, token: str, *, count: int) -> None:
    """Ask for a small file again and again, on several connections at once."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:

        async def lane() -> None:
            for _ in range(count // LANES):
                answer = await client.get("/bench/a/resolve/main/.gitattributes")
                answer.raise_for_status()

        await asyncio.gather(*(lane() for _ in range(LANES)))


@contextmanager
def with_reads(on: bool) -> Iterator[None]:
    """Let servers that are started meanwhile put reads on record, or not."""
    os.environ["FIN_QLORA_HUB_AUDIT_READS"] = str(on).lower()
    try:
        yield
    finally:
        del os.environ["FIN_QLORA_HUB_AUDIT_READS"]


def measure_downloads(folder: Path, *, runs: int, count: int) -> tuple[list[Row], dict[str, float]]:
    """Return the server's CPU for one download, with reads on record and without."""
    data_dir = folder / "downloads"
    hub_command(data_dir, "init")
    hub_command(data_dir, "user", "add", "bench")
    words = ("token", "create", "bench", "--name", "bench", "--role", "write")
    token = hub_command(data_dir, *words, "--format", "quiet")
    with server(data_dir) as (_, url), httpx.Client(base_url=url) as client:
        headers = {"Authorization": f"Bearer {token}"}
        client.post("/api/repos/create", json={"name": "a"}, headers=headers).raise_for_status()
    spent: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(runs):
        for on in (False, True):
            with with_reads(on), server(data_dir) as (process, url):
                asyncio.run(download(url, token, count=count // 10))
                before = sum(process.cpu_times()[:2])
                asyncio.run(download(url, token, count=count))
                spent[on].append((sum(process.cpu_times()[:2]) - before) / count)
    off, recorded = (statistics.median(spent[on]) for on in (False, True))
    rows = [
        Row("reads not on record", "CPU of the server for one download", "us", off * 1e6),
        Row("reads on record", "CPU of the server for one download", "us", recorded * 1e6),
    ]
    return rows, {"a download with reads on record to one without": recorded / off}


def main() -> None:
    """Measure, print the table and, where asked, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    arguments = parser.parse_args()
    records, runs, count = (10_000, 1, 800) if arguments.quick else (100_000, 3, 2400)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_records(Path(folder), records=records)
        more, ratios = measure_downloads(Path(folder), runs=runs, count=count)
    rows += more
    print(table(rows))
    if arguments.json:
        packages = ("fin-qlora-hub", "fastapi", "uvicorn", "sqlalchemy")
        write(arguments.json, report("hub_audit", rows, packages=packages, ratios=ratios))


if __name__ == "__main__":
    main()
