"""How long the XBRL builder takes, whether it repeats itself to the byte, and whether it agrees
with the questions of the published benchmark.

    python benchmarks/xbrl_builder.py --filings DIR [--questions DIR] [--quick] [--json FILE]

The build runs twice in fresh processes, with 2 workers and with 1, each under another
PYTHONHASHSEED; the four files must be the same bytes. QUESTIONS is a folder that holds
``xbrl_tags/xbrl_tags_test.csv`` and ``xbrl_value/value_test.csv``: each names a filing, a context
and a tag or value, which must be a fact of that context. ``--quick`` leaves the second build out.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

from report import Row, report, table, write

from fin_qlora.files import sha256_file
from fin_qlora.xbrl.places import find_places
from fin_qlora.xbrl.reader import read_filings

_BUILD = (
    "import sys\n"
    "from fin_qlora.xbrl import build\n"
    "if __name__ == '__main__':\n"
    "    print(sum(build(sys.argv[1], sys.argv[2], workers=int(sys.argv[3])).rows.values()))\n"
)
_FILES = ("train.jsonl", "validation.jsonl", "test.jsonl", "report.json")
_QUESTIONS = {
    "xbrl_tags_test.csv": "xbrl_tags/xbrl_tags_test.csv",
    "value_test.csv": "xbrl_value/value_test.csv",
}

#: context id -> the tags and the values of its facts
Contexts = Mapping[str, tuple[set[str], set[Decimal]]]


def built(filings: Path, out: Path, *, workers: int, hash_seed: int) -> tuple[float, int]:
    """Build in a fresh process; return its wall seconds and its rows."""
    program = out.with_suffix(".py")
    program.write_text(_BUILD, "utf-8")
    command = [sys.executable, str(program), str(filings), str(out), str(workers)]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"The build ended with {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - start, int(done.stdout)


def contexts_of(root: Path) -> dict[str, Contexts]:
    """Return the contexts of every filing by the name that its schema has."""
    found: dict[str, Contexts] = {}
    for place in find_places(root)[0]:
        for filing in read_filings(root, place):
            own: dict[str, tuple[set[str], set[Decimal]]] = defaultdict(lambda: (set(), set()))
            for fact in filing.numbers:
                if fact.value is not None:
                    own[fact.context_id][0].add(str(fact.key.concept))
                    own[fact.context_id][1].add(fact.value)
            found[filing.schema.removesuffix(".xsd")] = own
    return found


def questions(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (filing, context, answer) of a published question file."""
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            name = row["doc_path"].rpartition("/")[2].removesuffix("_htm.xml")
            yield name, row["context_id"], row["output"].strip()


def verdict(answer: str, context: tuple[set[str], set[Decimal]] | None) -> str:
    """Say whether an answer is a fact of its context, and why not where it is not."""
    if context is None:
        return "the context has no number"
    tags, values = context
    try:
        return "agrees" if Decimal(answer) in values else "no fact of the context has the value"
    except InvalidOperation:
        pass
    return "agrees" if answer in tags else "the tag is not in the context"


def main() -> None:
    """Measure, print the table and, where asked, write the JSON. Ends with 1 on a difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--filings", type=Path, required=True, metavar="DIR")
    parser.add_argument("--questions", type=Path, metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="one build, so no comparison")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    arguments = parser.parse_args()
    root: Path = arguments.filings.resolve()
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        first, second = Path(name, "first"), Path(name, "second")
        seconds, count = built(root, first, workers=2, hash_seed=1)
        rows = [
            Row("2 workers", "build", "s", round(seconds, 2)),
            Row("2 workers", "rows", "rows", count),
        ]
        if not arguments.quick:
            seconds, _ = built(root, second, workers=1, hash_seed=2)
            same = sum(sha256_file(first / f) == sha256_file(second / f) for f in _FILES)
            faults += same != len(_FILES)
            rows += [
                Row("1 worker, another PYTHONHASHSEED", "build", "s", round(seconds, 2)),
                Row("1 worker, another PYTHONHASHSEED", "files alike", f"of {len(_FILES)}", same),
            ]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    rows.append(Row("each process", "peak memory", "MiB", round(peak)))
    if arguments.questions:
        known = contexts_of(root)
        for file, path in _QUESTIONS.items():
            counts: Counter[str] = Counter()
            for filing, context, answer in questions(arguments.questions / path):
                own = known.get(filing)
                counts[
                    "the filing is not here" if own is None else verdict(answer, own.get(context))
                ] += 1
            faults += sum(counts.values()) - counts["agrees"] - counts["the filing is not here"]
            rows += [Row(file, reason, "questions", n) for reason, n in sorted(counts.items())]
    print(table(rows))
    if arguments.json:
        packages = ("fin-qlora", "lxml")
        write(arguments.json, report("xbrl_builder", rows, packages=packages, seed=0))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
