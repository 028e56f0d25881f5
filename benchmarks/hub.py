"""How fast the hub takes and gives large files, how much memory it needs, how soon it answers.

    python benchmarks/hub.py [--part PART] [--quick] [--json FILE]

A server of its own runs on a temporary store and a free loopback port; client and server share the
machine. With nginx installed (`apt-get install nginx-light`) it is measured beside. Everything
takes about ten minutes on two cores that have nothing else to do.

- transfer: the stock client sends and fetches 200 MB of random bytes, by Xet and by Git LFS
  (HF_HUB_DISABLE_XET=1), in turns, each time as a fresh process with an empty cache. Only the call
  itself is timed. The aim is 0.6 (up) and 0.9 (down) of the speed of LFS, the floor 0.41 and 0.67.
  It fetches the same file from nginx, which plays a hub for it; the limit for the plain download
  is 0.7 of that speed.
- edit: the next version of that file, with 37 bytes inserted, and the one after it, with 10 bytes
  changed, each from a client with an empty cache; every byte that it sends is counted. The limit is
  0.1 % of the file: a client sends at least the chunk that has changed, of 64 KiB on average and
  128 KiB at most, and at times its neighbour.
- memory: 64 uploads of 48 MB at once; the server's resident memory is read every 5 ms. The limit is
  600 MB.
- requests: 1,000 repositories with 10 commits each, 200 requests a second; the limit for the 99th
  percentile is 25 ms.
- scale: the server's work for the same requests with 1,000, 10,000 and 100,000 repositories, for
  one who sees all of them and one who sees ten; with 2,000 and 20,000 files; with 100 and 1,000
  commits. It should stay what it is.
- start: from starting the process to its first answer; the limit is 2 s.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from hub_bench import SEED
from hub_requests import measure_requests, measure_start
from hub_scale import measure_scale
from hub_transfer import measure_edit, measure_memory, measure_transfer
from report import Row, report, table, write

PARTS = {
    "transfer": measure_transfer,
    "edit": measure_edit,
    "memory": measure_memory,
    "requests": measure_requests,
    "scale": measure_scale,
    "start": measure_start,
}


def main() -> None:
    """Measure, print the table and, where asked, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this; may be repeated")
    parser.add_argument(
        "--quick", action="store_true", help="a test of the program: one run, fewer of everything"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    arguments = parser.parse_args()
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    rows: list[Row] = []
    ratios: dict[str, float] = {}
    for part in arguments.part or PARTS:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found, parts = PARTS[part](Path(folder), quick=arguments.quick)
        rows += found
        ratios |= parts
        print(f"{part}: {time.monotonic() - start:.0f} s", flush=True)
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
