"""The evaluation's recipe under its launcher: one or two processes, killed and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from fin_qlora.evaluation import read_results
from fin_qlora.files import shipped

#: Of which one process gives what two give: all but the time and memory that it took.
MEASURED = ("cost", "seconds_per_example", "file")


def launch(base, out, *flags: str, profile="single") -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--quiet"),
        *("--config_file", str(shipped("recipes") / "accelerate" / f"{profile}.yaml")),
        *("-m", "fin_qlora.recipes.evaluation", "--model", str(base), "--out", str(out)),
        *("--cpu_threads", "1", "--batch_size", "4", *flags),
    ]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, env=os.environ
    )


def free_port() -> str:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return str(bound.getsockname()[1])


def figures_and_rows(out):
    found = read_results(out)
    return [
        (
            {name: value for name, value in one.figures.items() if name not in MEASURED},
            [{**row, "seconds": None} for row in one.rows],
        )
        for one in found
    ]


#: Two tasks of made-up rows, both ways of answering.
FLAGS = ("--tasks", "synthetic_sentiment", "synthetic_ner", "--limit", "30")
FLAGS += ("--answers", "both", "--abstain_below", "0.4")


@pytest.fixture(scope="module")
def alone(tmp_path_factory, small_base):
    """What one process leaves that nothing stops."""
    out = tmp_path_factory.mktemp("evaluated") / "alone"
    done = launch(small_base, out, *FLAGS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == str(out)
    return out


def test_two_processes_leave_what_one_leaves(tmp_path, small_base, alone):
    out = tmp_path / "two"
    two = launch(small_base, out, *FLAGS, profile="cpu-ddp-2")
    assert two.returncode == 0, two.stderr[-3000:]
    assert figures_and_rows(out) == figures_and_rows(alone)
    assert two.stdout.strip() == str(out)
    assert "synthetic_ner: accuracy" in two.stderr
    assert "it/s" not in two.stderr  # no bar where nobody looks
    assert "rows/s" not in two.stderr
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert [entry["cost"]["processes"] for entry in results["tasks"]] == [2, 2]
    journals = {path.name for path in (out / "journal").iterdir()}
    assert {"synthetic_ner.generate.0.jsonl", "synthetic_ner.generate.1.jsonl"} <= journals


def test_two_stages_give_what_one_process_gives(tmp_path, small_base, alone):
    out = tmp_path / "staged"
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"),
        *("--master_addr", "127.0.0.1", "--master_port", free_port()),
        *("-m", "fin_qlora.recipes.evaluation"),
        *("--model", str(small_base), "--out", str(out), "--pipeline_stages", "2"),
        *("--cpu_threads", "1", "--batch_size", "4", *FLAGS),
    ]
    two = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert two.returncode == 0, two.stderr[-3000:]
    for (figures, rows), (expected, others) in zip(
        figures_and_rows(out), figures_and_rows(alone), strict=True
    ):
        assert figures["identity"] == expected["identity"]
        for row, single in zip(rows, others, strict=True):
            for name in ("text", "gold", "predicted", "output", "outcome", "prompt_digest"):
                assert row[name] == single[name]
            assert row["scores"] == pytest.approx(single["scores"], abs=1e-3)
    found = read_results(out)
    assert [one.figures["cost"]["processes"] for one in found] == [2, 2]
    assert all(one.figures["cost"]["pipeline"]["bubble"] is not None for one in found)
    assert "· stage 1: " in two.stderr
    assert two.stderr.count("2 stages, micro-batches of a batch: ") == 2
    # what both have answered together is kept by the first
    assert {path.name.split(".")[2] for path in (out / "journal").iterdir()} == {"0"}


#: The recipe, killed as by `kill -9` when so many batches are done, in the middle of a line.
KILLED = """
import os, signal, sys
from fin_qlora.evaluation.journal import Journal
from fin_qlora.recipes.evaluation import main

add, batches = Journal.add, int(sys.argv.pop(1))

def counted(self, *args, **options):
    global batches
    if batches == 0:
        self._stream.write(b'{"rows": [1, 2], "resu')
        self._stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    batches -= 1
    add(self, *args, **options)

Journal.add = counted
main()
"""


@pytest.mark.parametrize("profile", ["single", "cpu-ddp-2"])
def test_a_killed_evaluation_goes_on_and_ends_as_if_nothing_had_been(
    tmp_path, small_base, alone, profile
):
    out = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, "6", "--model", str(small_base), "--batch_size", "4"]
    command += ["--cpu_threads", "1", "--out", str(out), *FLAGS]
    dead = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr[-3000:]
    assert not (out / "results.json").exists()
    (journal,) = (out / "journal").iterdir()
    kept = journal.read_bytes().splitlines()
    assert len(kept) == 8  # what they are, six batches, and half a line
    if profile == "single":
        other = launch(small_base, out, *FLAGS, "--shots", "1")
        assert other.returncode != 0
        assert "shots was 0, and is 1 now" in other.stderr

    again = launch(small_base, out, *FLAGS, profile=profile)
    assert again.returncode == 0, again.stderr[-3000:]
    assert figures_and_rows(out) == figures_and_rows(alone)
    if profile == "single":
        assert journal.read_bytes().splitlines()[:7] == kept[:7]
        lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()[1:]]
        rows = [row for line in lines for row in line["rows"]]
        assert sorted(rows) == list(range(30))  # none was asked twice
