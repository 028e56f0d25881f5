"""Label the rows of many files on many machines: python batch_scoring.py ADAPTER ROWS OUT.

ROWS is a folder or file of JSON lines, or of parquet (*.parquet), with the fields of the adapter's
prompt; OUT gets parquet files with the same rows and their columns `predicted` and `score`.
"""

from __future__ import annotations

import argparse
from typing import Any

import pyarrow

from fin_qlora.xbrl.ray_runner import connected


class Labeller:
    """One worker: it loads the adapter once and then labels batch after batch."""

    def __init__(self, adapter: str, revision: str | None, base: str | None) -> None:
        from fin_qlora import load_adapter

        self.adapter = load_adapter(adapter, revision=revision, base=base)

    def __call__(self, rows: pyarrow.Table) -> pyarrow.Table:
        """Return the rows with their labels."""
        found = self.adapter.predict(rows.to_pylist())
        labels = pyarrow.array([one.label for one in found], pyarrow.string())
        scores = pyarrow.array([one.score for one in found], pyarrow.float64())
        return rows.append_column("predicted", labels).append_column("score", scores)


def label(arguments: argparse.Namespace) -> None:
    """Run the whole job on the cluster; without an address, on workers started here."""
    # a worker keeps its core while it waits: one more is for those that read and write files
    with connected(arguments.workers + 1, arguments.address):
        import ray.data

        ray.data.DataContext.get_current().enable_progress_bars = False
        read: Any = (
            ray.data.read_parquet if arguments.rows.endswith(".parquet") else ray.data.read_json
        )
        read(arguments.rows).repartition(target_num_rows_per_block=arguments.batch).map_batches(
            Labeller,
            fn_constructor_args=[arguments.adapter, arguments.revision, arguments.base],
            compute=ray.data.ActorPoolStrategy(size=arguments.workers),
            batch_size=arguments.batch,
            batch_format="pyarrow",
            num_cpus=1,
            num_gpus=arguments.gpus,
        ).write_parquet(arguments.out, mode=ray.data.SaveMode.ERROR)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapter", help="ORG/NAME on your hub, or a folder that all machines see")
    parser.add_argument("rows", help="what is labelled, where all machines see it")
    parser.add_argument("out", help="a new folder for the results, where all machines see it")
    parser.add_argument("--revision", help="commit, tag or branch of the adapter")
    parser.add_argument("--base", help="a folder that has the base, instead of the hub")
    parser.add_argument("--address", help="HOST:PORT of a running Ray cluster")
    parser.add_argument("--workers", type=int, default=2, help="adapters loaded at a time")
    parser.add_argument("--gpus", type=float, default=0, help="cards a worker has; 0.5 is half")
    parser.add_argument("--batch", type=int, default=256, help="rows a worker takes at a time")
    label(parser.parse_args())


if __name__ == "__main__":
    main()
