"""How much memory the hub's server needs to take a commit of a 50 MB adapter.

    python benchmarks/hub_commit_memory.py [--quick] [--json FILE]

A server of its own runs on a temporary store and a free loopback port. The stock client makes a
repository, uploads random bytes as one adapter file, changes them, and uploads again; the server's
resident memory is read every 5 ms. Growth is over the memory just before the upload. The limit that
this project sets itself is 64 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from report import Row, report, table, write

ADAPTER_BYTES = 50_000_000
LIMIT_BYTES = 64_000_000
MIB = 2**20
SEED = 20260101
SAMPLE_SECONDS = 0.005


@dataclass(frozen=True)
class Upload:
    """What one upload took; memory in bytes."""

    seconds: float
    before: int
    peak: int
    after: int


class Watch:
    """Reads the resident memory of a process until it is told to stop."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.before = self.peak = process.memory_info().rss

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self._process.memory_info().rss)


def hub_command(data_dir: Path, *words: str) -> str:
    """Run one command of the hub and return what it printed."""
    command = [sys.executable, "-m", "fin_qlora_hub", *words, "--data-dir", str(data_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def server(data_dir: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Run a server; give its process and its URL."""
    words = ["serve", "--data-dir", str(data_dir), "--port", "0", "--format", "json"]
    with subprocess.Popen(
        [sys.executable, "-m", "fin_qlora_hub", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            url = json.loads(process.stdout.readline())["url"]
            yield psutil.Process(process.pid), url
        finally:
            process.terminate()


def measure(folder: Path, *, uploads: int) -> list[Upload]:
    """Upload the adapter ``uploads`` times, each time with other bytes."""
    from huggingface_hub import HfApi

    data_dir = folder / "hub"
    hub_command(data_dir, "init")
    hub_command(data_dir, "user", "add", "bench")
    words = ("token", "create", "bench", "--name", "bench", "--role", "write")
    token = hub_command(data_dir, *words, "--format", "quiet")
    adapter = folder / "adapter_model.safetensors"
    generator = random.Random(SEED)
    measured = []
    with server(data_dir) as (process, url):
        api = HfApi(endpoint=url, token=token)
        api.create_repo("bench/adapter")
        for _ in range(uploads):
            adapter.write_bytes(generator.randbytes(ADAPTER_BYTES))
            with Watch(process) as watch:
                start = time.perf_counter()
                api.upload_file(
                    path_or_fileobj=adapter, path_in_repo=adapter.name, repo_id="bench/adapter"
                )
                seconds = time.perf_counter() - start
            after = process.memory_info().rss
            measured.append(Upload(seconds, watch.before, max(watch.peak, after), after))
    return measured


def main() -> None:
    """Measure, print the table and, where asked, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="2 uploads, not 10")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    arguments = parser.parse_args()
    uploads = 2 if arguments.quick else 10

    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder), uploads=uploads)

    side = "streaming server"
    first = measured[0].peak - measured[0].before
    growth = max(upload.peak - upload.before for upload in measured)
    overall = max(upload.peak for upload in measured) - measured[0].before
    seconds = statistics.median(upload.seconds for upload in measured)
    rows = [
        Row(side, "memory before the first upload", "MiB", measured[0].before / MIB),
        Row(side, "growth during the first upload", "MiB", first / MIB),
        Row(side, f"largest growth during one of {uploads} uploads", "MiB", growth / MIB),
        Row(side, f"growth over all {uploads} uploads", "MiB", overall / MIB),
        Row(side, "upload by the stock client, median", "s", seconds),
    ]
    print(table(rows))
    if arguments.json:
        packages = (
            "fin-qlora-hub",
            "fastapi",
            "uvicorn",
            "sqlalchemy",
            "huggingface-hub",
            "hf-xet",
        )
        finished = report(
            "hub_commit_memory",
            rows,
            packages=packages,
            seed=SEED,
            ratios={"growth over all uploads to the limit of 64 MB": overall / LIMIT_BYTES},
        )
        write(arguments.json, finished)


if __name__ == "__main__":
    main()
