"""How long `import fin_qlora` and `fin-qlora --help` take in a fresh process.

    python benchmarks/import_time.py [--quick] [--json FILE]

The figure of an import is the time inside the new process, without the interpreter's own start; the
figure of a command is the whole wall time, as a user waits for it. Medians over fresh processes,
after one that is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from report import Row, report, table, write

IMPORT = (
    "import time\n"
    "start = time.perf_counter()\n"
    "import {module}\n"
    "print(time.perf_counter() - start)\n"
    "import sys\n"
    "assert 'torch' not in sys.modules\n"
)


def import_seconds(module: str) -> float:
    """Return the seconds that a fresh process spends on importing ``module``."""
    command = [sys.executable, "-c", IMPORT.format(module=module)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def command_seconds(*command: str) -> float:
    """Return the wall seconds of one run of a command."""
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"'{' '.join(command)}' ended with {result.returncode}:\n{result.stderr}")
    return time.perf_counter() - start


def main() -> None:
    """Measure, print the table and, where asked, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="5 processes each, not 21")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    arguments = parser.parse_args()
    repeats = 5 if arguments.quick else 21

    command = str(Path(sys.executable).with_name("fin-qlora"))
    measured: dict[tuple[str, str], Callable[[], float]] = {
        ("import fin_qlora", "inside the process"): lambda: import_seconds("fin_qlora"),
        ("fin-qlora --help", "wall"): lambda: command_seconds(command, "--help"),
        ("python -c pass", "wall"): lambda: command_seconds(sys.executable, "-c", "pass"),
    }
    rows = []
    for (side, figure), seconds in measured.items():
        seconds()
        samples = [seconds() for _ in range(repeats)]
        rows.append(
            Row(side, f"{figure}, median of {repeats}", "s", round(statistics.median(samples), 4))
        )

    print(table(rows))
    if arguments.json:
        packages = ("fin-qlora", "typer", "rich", "click")
        write(arguments.json, report("import_time", rows, packages=packages))


if __name__ == "__main__":
    main()
