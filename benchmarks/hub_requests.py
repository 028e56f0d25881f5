"""Small requests: how long they wait at a fixed rate, what they cost, and how soon one starts."""

from __future__ import annotations

import os
import statistics
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from hub_bench import Ask, Bench, asked, work
from hub_commit_memory import server
from report import Row

from fin_qlora_hub.access.identity import Caller, Role, find_user
from fin_qlora_hub.git.operations import AddFile, Change
from fin_qlora_hub.hub import Hub, open_hub
from fin_qlora_hub.repositories.commits import carry_out, plan_commit
from fin_qlora_hub.repositories.repository import Kind, RepositoryName, create, open_readable
from fin_qlora_hub.settings import Settings

REPOSITORIES = 1000
COMMITS = 10
REQUEST_LIMIT_SECONDS = 0.025
START_LIMIT_SECONDS = 2.0


class Filler:
    """Makes repositories and commits without going over HTTP."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        with hub.database.reading() as session:
            user = find_user(session, "bench")
            self._caller = Caller(
                user_id=user.id,
                name=user.name,
                full_name=user.full_name,
                email=None,
                token_name="bench",
                token_role=Role.WRITE,
                token_created_at=user.created_at,
            )

    def repository(self, name: str) -> None:
        """Make an empty repository."""
        with self._hub.database.writing() as session:
            create(session, self._hub.storage, _full(name), private=True, caller=self._caller)

    def commit(self, name: str, content: bytes, paths: Sequence[str]) -> None:
        """Put the same content at some paths."""
        writer = self._hub.blobs.writer(limit=len(content))
        writer.write(content)
        staged = writer.finish()
        change = Change("commit", "", [AddFile(path, staged) for path in paths])
        with self._hub.database.writing() as session:
            repository = open_readable(session, _full(name), self._caller)
            plan = plan_commit(
                *(session, self._hub.storage, repository),
                branch="main",
                change=change,
                author=self._caller,
            )
            self._hub.blobs.publish(change.blobs)
            carry_out(session, repository, plan, author=self._caller)


@contextmanager
def filling(data_dir: Path) -> Iterator[Filler]:
    """Open a hub that no server runs on, to fill it."""
    with open_hub(Settings(data_dir=data_dir)) as hub:
        yield Filler(hub)


def fill(data_dir: Path, *, repositories: int) -> None:
    """Make repositories with ten commits each, and one of fifty tags."""
    with filling(data_dir) as filler:
        for number in range(repositories):
            filler.repository(f"repository-{number}")
            for turn in range(COMMITS):
                card = f"---\ntags: [t{number % 50}]\n---\n{turn}\n"
                filler.commit(f"repository-{number}", card.encode(), ["README.md"])


def _full(name: str) -> RepositoryName:
    return RepositoryName(Kind.MODEL, "bench", name)


def measure_requests(folder: Path, *, quick: bool) -> tuple[list[Row], dict[str, float]]:
    """Ask for information, lists and headers, each kind by itself."""
    repositories, count = (50, 200) if quick else (REPOSITORIES, 3000)
    bench = Bench(folder)
    fill(bench.data_dir, repositories=repositories)
    kinds: dict[str, Ask] = {
        "information": lambda n: f"GET /api/models/bench/repository-{n * 7919 % repositories}",
        "list of 30": lambda n: f"GET /api/models?limit=30&filter=t{n % 50}",
        "HEAD resolve": lambda n: (
            f"HEAD /bench/repository-{n * 7919 % repositories}/resolve/main/README.md"
        ),
    }
    rows, ratios = [], {}
    with server(bench.data_dir) as (process, url):
        for kind, ask in kinds.items():
            taken, spent = asked(process, url, bench.token, ask, count=count)
            p99 = taken[int(len(taken) * 0.99)]
            rows.append(Row(kind, "the server's work for each", "ms", spent * 1000))
            rows.append(Row(kind, "median", "ms", statistics.median(taken) * 1000))
            rows.append(Row(kind, f"99th percentile of {count}", "ms", p99 * 1000))
            ratios[f"99th percentile of {kind} to the limit"] = p99 / REQUEST_LIMIT_SECONDS
    return rows, ratios


def measure_start(folder: Path, *, quick: bool) -> tuple[list[Row], dict[str, float]]:
    """Start the server again and again."""
    runs = 1 if quick else 7
    bench = Bench(folder)
    taken, spent = [], []
    with mock.patch.dict(os.environ, PYTHONPYCACHEPREFIX=str(folder / "compiled")):
        # Whoever installs a hub has its modules compiled, whatever is set where this is measured.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(runs + 1):  # the first compiles, and fills the caches of the disk
            start = time.perf_counter()
            with server(bench.data_dir) as (process, url):
                with urllib.request.urlopen(f"{url}/healthz") as answer:
                    answer.read()
                taken.append(time.perf_counter() - start)
                spent.append(work(process))
    seconds = statistics.median(taken[1:])
    rows = [
        Row("server", f"start to first answer, median of {runs}", "s", seconds),
        Row("server", "its work until then", "s", statistics.median(spent[1:])),
    ]
    return rows, {"start to the limit of 2 s": seconds / START_LIMIT_SECONDS}
