"""Results in the form that a hub reads for its leaderboards: ``.eval_results/TASK.yaml``.

The form is that of the Hub's page "Evaluation results": a list of entries with the data set's id,
the benchmark's task, one value, and where it comes from. A score that was not measured on all
rows of a published test set is no result there, and gets no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import write_text
from ..tasks import Task, get, names
from .claims import accuracy_interval, dataset_of, may_claim, own_split, row_file

#: Where a repository keeps them.
FOLDER = ".eval_results"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An accuracy on all rows of a published test set, and the file that it can be checked by.

    Args:
        rows: how many were scored.
        interval: low and high end of the 95 % interval.
        date: when it was measured, ISO 8601.
        how: how answers were given, such as ``likelihood``, and in which bits.
        file: name of the per-row results, and their SHA-256; None where they are not published.
        source_url: where that file is to be read.
    """

    task: str
    dataset: str
    accuracy: float
    rows: int
    interval: tuple[float, float]
    date: str
    how: str
    file: tuple[str, str] | None
    source_url: str | None = None


def eval_results(claim: Claim) -> str:
    """Return the YAML of one claim."""
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    low, high = claim.interval
    recomputed = (
        f"from {claim.file[0]} (sha256 {claim.file[1]})"
        if claim.file
        else "per-row results are not published"
    )
    drawn = own_split(get(claim.task) if claim.task in names() else None)
    entry = EvalResultEntry(
        dataset_id=claim.dataset,
        task_id=claim.task,
        value=round(claim.accuracy, 4),
        date=claim.date,
        source_url=claim.source_url,
        source_name="Per-row results" if claim.source_url else None,
        notes=(
            f"accuracy; 95 % interval {low:.4f} to {high:.4f}; n={claim.rows}; {claim.how}; "
            f"{recomputed}" + (f"; {drawn}" if drawn else "")
        ),
    )
    text: str = yaml.safe_dump(
        eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True, width=100
    )
    return text


def write_eval_results(out: Path, entry: Mapping[str, Any], *, date: str, task: Task) -> bool:
    """Write the file of one task of a results.json, and say whether there was a claim to write.

    There is none for rows that were trained on or made up, for a part of the rows or of the
    published file, for another file than the published one, and where the data is on no hub. A
    file of an earlier run is then removed.

    Args:
        entry: the task's entry of results.json.
    """
    path = out / FOLDER / f"{entry['task']}.yaml"
    about, dataset = entry["about"], dataset_of(task)
    partial = about["limit"] or about["partial_file"] or entry["overlong"]
    if (
        partial
        or not about["as_published"]
        or about["split"] != "test"
        or task.synthetic
        or dataset is None
    ):
        path.unlink(missing_ok=True)
        return False
    interval = entry["intervals"]["accuracy"]["cluster_bootstrap"]
    claim = Claim(
        task=entry["task"],
        dataset=dataset,
        accuracy=entry["scores"]["accuracy"],
        rows=entry["rows"],
        interval=(interval["low"], interval["high"]),
        date=date,
        how=f"{_headline(entry['answers'])}, quantization {about['quantization']}, "
        f"{about['shots']} shots",
        file=(entry["file"]["path"], entry["file"]["sha256"]),
    )
    write_text(path, eval_results(claim))
    return True


def _headline(answers: str) -> str:
    """Return the way of answering whose accuracy is claimed: of both, the likeliest label."""
    return "likelihood" if answers == "both" else answers


def eval_results_of(
    manifest: Mapping[str, Any], *, repo_id: str, address: str | None
) -> dict[str, bytes]:
    """Return path -> content of the files for an adapter's own evaluation.

    Args:
        manifest: what is published; a file of rows that is not in it is not referred to.
        address: of the hub.
    """
    found = {}
    for evidence in manifest["tasks"]:
        name = evidence["task"]
        dataset = dataset_of(get(name) if name in names() else None)
        if evidence["synthetic"] or dataset is None or not may_claim(evidence, manifest):
            continue
        scores, rows = evidence["evaluation"]["adapter"], evidence["evaluation"]["rows"]
        file = row_file(manifest, name)
        claim = Claim(
            task=name,
            dataset=dataset,
            accuracy=scores["accuracy"],
            rows=rows,
            interval=accuracy_interval(scores, rows=rows),
            date=manifest["created"],
            how=f"{'likelihood' if 'weighted_f1' in scores else 'generate'}, quantization "
            f"{manifest['configuration']['quantization']}",
            file=(file.name, file.sha256) if file else None,
            source_url=f"{address}/{repo_id}/blob/main/{file.name}" if file and address else None,
        )
        found[f"{FOLDER}/{name}.yaml"] = eval_results(claim).encode()
    return found
