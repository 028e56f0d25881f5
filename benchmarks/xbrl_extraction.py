"""Our numbers of XBRL filings beside Arelle's, and how fast and in how much memory we read them.

    python benchmarks/xbrl_extraction.py --filings DIR [--quick] [--json FILE]

Every numeric fact of every filing below DIR is read by us and by Arelle, each element counted.
Speed is the processor time of our reading alone (unpack, parse, facts, labels), the best of three
rounds over all filings in one process; memory is the peak of a fresh process that reads them all.
``--quick`` takes every fifth filing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from report import Row, report, table, write

from fin_qlora.xbrl.cross_check import CrossCheck, cross_check
from fin_qlora.xbrl.places import Place, find_places
from fin_qlora.xbrl.reader import bundles, look, read_bundle, read_filings

ROUNDS = 3
_MEMORY = (
    "import resource, sys\n"
    "from pathlib import Path\n"
    "from fin_qlora.xbrl.places import find_places\n"
    "from fin_qlora.xbrl.reader import read_filings\n"
    "root = Path(sys.argv[1])\n"
    "for place in find_places(root)[0][:: int(sys.argv[2])]:\n"
    "    for filing in read_filings(root, place):\n"
    "        pass\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
)


def compare(root: Path, places: list[Place]) -> dict[str, CrossCheck]:
    """Return filing -> how our numbers compare with Arelle's."""
    found = {}
    for place in places:
        for bundle in bundles(place, look(root, place)):
            outcome = cross_check(root, bundle, read_bundle(root, bundle))
            found[bundle.name] = outcome
            if outcome.unexplained or outcome.failed:
                print(f"{bundle.name}: {outcome.failed or outcome.examples}", file=sys.stderr)
    return found


def speed(root: Path, places: list[Place]) -> tuple[float, float]:
    """Return filings a second on one core: of all of them, and of the inline ones."""
    best: Counter[str] = Counter()
    inline: set[str] = set()
    filings = 0
    for number in range(ROUNDS):
        for place in places:
            start = time.process_time()
            for filing in read_filings(root, place):
                filings += number == 0
                if filing.documents[0].kind == "inline":
                    inline.add(place.path)
            seconds = time.process_time() - start
            best[place.path] = int(min(best[place.path] or 10**12, seconds * 10**9))
    total = sum(best.values()) / 10**9
    printed = sum(best[path] for path in inline) / 10**9
    return filings / total, len(inline) / printed if printed else 0.0


def main() -> None:
    """Measure, print the table and, where asked, write the JSON. Ends with 1 on a difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--filings", type=Path, required=True, metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="every fifth filing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    arguments = parser.parse_args()
    root: Path = arguments.filings.resolve()
    step = 5 if arguments.quick else 1
    places = find_places(root)[0][::step]

    everything, inline = speed(root, places)
    command = [sys.executable, "-c", _MEMORY, str(root), str(step)]
    memory = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found = compare(root, places)
    rows = [
        Row(name, "numbers equal to Arelle's", f"of {outcome.ours:,}", outcome.equal)
        for name, outcome in found.items()
    ]
    explained: Counter[str] = Counter()
    for outcome in found.values():
        explained.update(outcome.explained)
    numbers = sum(outcome.ours for outcome in found.values())
    unexplained = sum(outcome.unexplained + bool(outcome.failed) for outcome in found.values())
    rows += [
        Row("all filings", "filings", "filings", len(found)),
        Row("all filings", "numbers", "facts", numbers),
        Row("all filings", "numbers equal to Arelle's", "facts", _sum(found, "equal")),
        *(Row("all filings", reason, "facts", count) for reason, count in explained.items()),
        Row("all filings", "unexplained differences", "facts", unexplained),
        Row("all filings", "speed, one core", "filings/s", round(everything, 1)),
        Row("inline filings", "speed, one core", "filings/s", round(inline, 1)),
        Row("all filings", "peak memory of one process", "MiB", round(memory)),
    ]
    print(table(rows))
    if arguments.json:
        ratios = {"equal or explained": (numbers - unexplained) / max(1, numbers)}
        packages = ("fin-qlora", "lxml", "arelle-release")
        write(arguments.json, report("xbrl_extraction", rows, packages=packages, ratios=ratios))
    sys.exit(1 if unexplained else 0)


def _sum(found: dict[str, CrossCheck], name: str) -> int:
    return sum(getattr(outcome, name) for outcome in found.values())


if __name__ == "__main__":
    main()
