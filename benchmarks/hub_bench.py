"""What the parts of `hub.py` share: a hub with one user, a load at a fixed rate, and work done."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from hub_commit_memory import hub_command

REQUESTS_PER_SECOND = 200
CONNECTIONS = 16
SEED = 20260102
# What to ask the n-th time, such as "GET /healthz".
Ask = Callable[[int], str]


class Bench:
    """A hub with one user, and the ways in which the measurements use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "hub"
        hub_command(self.data_dir, "init")
        self.token = self.add_user("bench")

    def add_user(self, name: str) -> str:
        """Add a user; return a token of theirs."""
        hub_command(self.data_dir, "user", "add", name)
        words = ("token", "create", name, "--name", "bench", "--role", "write")
        return hub_command(self.data_dir, *words, "--format", "quiet")

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


async def load(url: str, token: str, ask: Ask, *, count: int) -> list[float]:
    """Send requests at a fixed rate; return for each the seconds since it was due.

    They are due whether or not earlier ones are answered, so that a server that stalls is charged
    for everyone who waits.
    """
    place = urlsplit(url)
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncio.open_connection(place.hostname, place.port))
    taken: list[float] = []

    async def one(number: int, due: float) -> None:
        reader, writer = await free.get()
        method, _, target = ask(number).partition(" ")
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


def work(process: psutil.Process) -> float:
    """Return the processor time that a process has used, in seconds."""
    used = process.cpu_times()
    return float(used.user + used.system)


def asked(
    process: psutil.Process, url: str, token: str, ask: Ask, *, count: int
) -> tuple[list[float], float]:
    """Warm up, then ask `count` times; return the waits, sorted, and the server's work for each."""
    asyncio.run(load(url, token, ask, count=max(count // 5, 10)))
    before = work(process)
    taken = asyncio.run(load(url, token, ask, count=count))
    return sorted(taken), (work(process) - before) / count
