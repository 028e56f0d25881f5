"""The same requests beside more and more repositories, files and commits: the work should not grow.

What counts is the server's processor time, which a busy machine changes less than the wait.
"""

from __future__ import annotations

import sqlite3
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from hub_bench import Ask, Bench, asked
from hub_commit_memory import server
from hub_requests import fill, filling
from report import Row

SCALES = (1_000, 10_000, 100_000)
FILES = (2_000, 20_000)
COMMITS = (100, 1_000)
PAGE_OF_FILES = 1_000
SEEN_BY_FEW = 10
END_LENGTH = 32


def multiply(database: Path, *, repositories: int) -> None:
    """Copy the one repository there is, in all that requests for its head and lists read.

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
        listed = "namespace_id, kind, private, updated_at, created_at, downloads"
        connection.execute(
            f"INSERT INTO repository_tags (repository_id, tag, {listed}) "
            f"SELECT id, 't' || (id % 50), {listed} FROM repositories WHERE id BETWEEN ? AND ?",
            span,
        )
        connection.executemany(
            "INSERT INTO name_ends (ending, repository_id) VALUES (?, ?)",
            _ends(
                connection.execute(
                    "SELECT r.id, s.name_key || '/' || r.name_key FROM repositories r "
                    "JOIN namespaces s ON s.id = r.namespace_id WHERE r.id BETWEEN ? AND ?",
                    span,
                ).fetchall()
            ),
        )


def _ends(names: Sequence[tuple[int, str]]) -> Iterator[tuple[str, int]]:
    for number, name in names:
        for start in range(len(name)):
            yield name[start : start + END_LENGTH], number


def in_turn(names: Sequence[str], line: str) -> Ask:
    """Return what asks for one after another, in no order that a cache would like."""
    return lambda number: line.format(names[number * 7919 % len(names)])


def halfway(url: str, token: str, path: str, *, pages: int) -> str:
    """Follow the links of a list; return the path of the page after so many."""
    for _ in range(pages):
        request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request) as answer:
            path = answer.headers["Link"].split("<")[1].split(">")[0].removeprefix(url)
    return path


def measure_scale(folder: Path, *, quick: bool) -> tuple[list[Row], dict[str, float]]:
    """Ask the same of more and more repositories, then of larger and older ones."""
    scales, count = ((100, 2_000), 60) if quick else (SCALES, 600)
    bench = Bench(folder)
    few = bench.add_user("few")
    fill(bench.data_dir, repositories=1)
    spent: dict[str, list[float]] = {}
    rows = []
    for scale in scales:
        multiply(bench.data_dir / "hub.sqlite3", repositories=scale)
        numbers = range(SEEN_BY_FEW + 1, scale)
        names = [f"bench/repository-{n}" for n in numbers]
        # Of numbers with as many digits as any none is in another name as well.
        once = [f"repository-{n}" for n in numbers if n >= scale // 10]
        with server(bench.data_dir) as (process, url):
            pages = max(scale // 2 // 1000, 1)
            size = 1000 if scale > 1000 else scale // 2
            deep = halfway(url, bench.token, f"/api/models?limit={size}", pages=pages)
            deep = deep.replace(f"limit={size}", "limit=30")
            kinds: dict[str, tuple[str, Ask]] = {
                "information": (bench.token, in_turn(names, "GET /api/models/{}")),
                "HEAD resolve": (bench.token, in_turn(names, "HEAD /{}/resolve/main/README.md")),
                "list": (bench.token, lambda n: "GET /api/models?limit=30"),
                "list of a tag": (
                    bench.token,
                    lambda n: f"GET /api/models?limit=30&filter=t{n % 50}",
                ),
                "list of an author": (
                    bench.token,
                    lambda n: "GET /api/models?limit=30&author=bench",
                ),
                "list, halfway down": (bench.token, lambda n, deep=deep: f"GET {deep}"),  # type: ignore[misc]
                "search for one": (bench.token, in_turn(once, "GET /api/models?search={}")),
                "search for what all have": (
                    bench.token,
                    lambda n: "GET /api/models?limit=30&search=pository",
                ),
                "search for what none has": (
                    bench.token,
                    lambda n: "GET /api/models?limit=30&search=zq",
                ),
                "list of what is gated": (
                    bench.token,
                    lambda n: "GET /api/models?limit=30&gated=true",
                ),
                "list of one who sees few": (few, lambda n: "GET /api/models?limit=30"),
                "search of one who sees few": (
                    few,
                    lambda n: "GET /api/models?limit=30&search=pository",
                ),
            }
            for kind, (token, ask) in kinds.items():
                _, each = asked(process, url, token, ask, count=count)
                spent.setdefault(kind, []).append(each)
                rows.append(Row(kind, f"work with {scale:,} repositories", "ms", each * 1000))
    ratios = {
        f"work for {kind}, {scales[-1]:,} repositories to {scales[0]:,}": each[-1] / each[0]
        for kind, each in spent.items()
    }
    inside_rows, inside_ratios = _inside(bench, quick=quick)
    return rows + inside_rows, ratios | inside_ratios


def _inside(bench: Bench, *, quick: bool) -> tuple[list[Row], dict[str, float]]:
    """Ask the same of repositories with more and more files, and with more and more commits."""
    counts, count = (((1_000, 2_000), (20, 60)), 5) if quick else ((FILES, COMMITS), 50)
    files, commits = counts
    with filling(bench.data_dir) as filler:
        for most in files:
            filler.repository(f"files-{most}")
            names = [f"{n % 4}/file-{n:05}" for n in range(most // 2)]
            names += [f"file-{n:05}" for n in range(most - len(names))]
            filler.commit(f"files-{most}", b"x", names)
            filler.commit(f"files-{most}", b"y", names[:1])
        for most in commits:
            filler.repository(f"commits-{most}")
            filler.commit(f"commits-{most}", b"x", [f"file-{n}" for n in range(20)])
            for turn in range(most):
                filler.commit(f"commits-{most}", b"%d" % turn, ["file-7"])
    of_files = {
        "page of 1,000 files": "GET /api/models/bench/files-{}/tree/main",
        "page of 1,000 files, recursive": "GET /api/models/bench/files-{}/tree/main?recursive=true",
        "HEAD resolve of a file": "HEAD /bench/files-{}/resolve/main/1/file-00001",
    }
    of_commits = {
        "page of 50 commits": "GET /api/models/bench/commits-{}/commits/main?limit=50",
        "information": "GET /api/models/bench/commits-{}",
        "files with their last commits": "GET /api/models/bench/commits-{}/tree/main?expand=true",
    }
    rows, ratios = [], {}
    with server(bench.data_dir) as (process, url):
        for kinds, sizes, what in ((of_files, files, "files"), (of_commits, commits, "commits")):
            for kind, line in kinds.items():
                each = []
                for size in sizes:
                    path = line.format(size)
                    taken = asked(process, url, bench.token, lambda n, p=path: p, count=count)  # type: ignore[misc]
                    each.append(max(taken[1], 1e-6))
                    rows.append(Row(kind, f"work with {size:,} {what}", "ms", each[-1] * 1000))
                ratio = f"work for {kind}, {sizes[-1]:,} {what} to {sizes[0]:,}"
                ratios[ratio] = each[-1] / each[0]
    return rows, ratios
