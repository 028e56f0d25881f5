"""A folder of filings in; train, validation and test questions and a report out."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import DataError, EmptyDatasetError, UnknownNameError, UsageError
from ..files import directory_in_place, disk_full_is_an_error, write_bytes, write_json
from .build_report import BuildReport, ReportBuilder
from .filing_list import read_filing_list
from .parts import FilingSummary, build_part, part_name
from .places import Place, Refusal, accession_of, find_places
from .ray_runner import require_ray, run_on_ray
from .reader import look
from .row_index import RowIndex
from .runner import run
from .settings import SPLITS, BuildSettings, SplitName, as_split
from .splits import SplitKey, decide

#: Called with the number of places done and of all places.
Progress = Callable[[int, int], None]
#: What maps the work over the filings: processes of this machine, or a Ray cluster.
Runner = Literal["processes", "ray"]
#: What the list of filings says about those of one place, by accession number or place.
Origins = Mapping[str, Mapping[str, str]]


def build(
    filings: str | Path,
    out: str | Path,
    *,
    workers: int | None = None,
    seed: int | None = None,
    one_shot: bool | None = None,
    cross_check: bool = False,
    runner: Runner = "processes",
    ray_address: str | None = None,
    progress: Progress | None = None,
    settings: BuildSettings | None = None,
) -> BuildReport:
    """Turn a folder of filings into questions with checked answers.

    Writes ``train.jsonl``, ``validation.jsonl``, ``test.jsonl`` and ``report.json`` into ``out``,
    all of them or none. The same filings and settings give the same bytes on any machine, with any
    number of workers and either runner. A build that was interrupted goes on where it stopped.

    Args:
        filings: the folder; folders below it and zips in it are read, links are not followed.
        workers: places at a time; all cores, of the machine or the cluster, by default.
        seed, one_shot: override the settings.
        cross_check: compare every number with Arelle's reading (extra ``xbrl-check``).
        runner: ``processes`` of this machine, or ``ray`` (extra ``ray``).
        ray_address: ``HOST:PORT`` of a running Ray cluster that this machine is part of and whose
            machines all see ``filings`` and the folder of ``out`` at the same paths. Without it
            the workers of Ray are started here for this build.
        progress: called after each place.
        settings: what the questions are like.

    Returns:
        The report. Filings that could not be read are in ``problems``, and ``exit_code`` is 1 then.

    Raises:
        MissingFileError: ``filings`` is no folder.
        EmptyDatasetError: no filing in it gives a question; nothing is written.
        UsageError: another build writes to ``out`` now, or ``ray_address`` goes without its runner.
        MissingDependencyError: the runner or the cross-check is not installed.
        EnvironmentFault: the Ray cluster cannot be reached or does not see the folders.
        DiskFullError: the disk is full; nothing but the parts done so far is left.
    """
    chosen = settings or BuildSettings()
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    if one_shot is not None:
        chosen = replace(chosen, one_shot=one_shot)
    if cross_check:
        from .cross_check import require_arelle

        require_arelle()
    _check_runner(runner, ray_address)
    root, target = Path(filings).resolve(), Path(os.path.abspath(out))
    if target == root or target in root.parents:
        raise UsageError(f"'{out}' holds the filings themselves.", fix="Name another folder.")
    places, refused = find_places(root)
    job = Job(root, chosen, cross_check, _work_folder(target) / "parts")
    listed = read_filing_list(root)
    tasks = [(place, _origins_of(place, listed)) for place in places]
    with _locked(_work_folder(target)) as work:
        parts = _run(job, tasks, workers, runner, ray_address, progress)
        report = _assemble(work, target, job, parts, refused)
        shutil.rmtree(work)
    return report


@dataclass(frozen=True)
class Job:
    """What a worker needs to know besides the place."""

    root: Path
    settings: BuildSettings
    check: bool
    parts: Path

    def __call__(self, task: tuple[Place, Origins]) -> str:
        """Make the part of a place, unless it is there already; return its file name."""
        place, origins = task
        try:
            seen = look(self.root, place, limits=self.settings.limits)
        except (DataError, OSError):
            seen = None
        name = part_name(place, seen or [], self.settings, self.check, origins)
        file = self.parts / name
        if not file.exists() or seen is None:
            part = build_part(
                self.root, place, self.settings, origins=origins, check=self.check, seen=seen
            )
            write_bytes(file, part.to_bytes())
        return name


def _check_runner(runner: Runner, ray_address: str | None) -> None:
    if runner not in get_args(Runner):
        raise UnknownNameError("runner", runner, get_args(Runner))
    if runner == "ray":
        require_ray(ray_address)
    elif ray_address is not None:
        raise UsageError(
            f"The address '{ray_address}' of a Ray cluster is given, but not the runner 'ray'.",
            fix="Choose the runner 'ray', or leave the address out.",
        )


def _run(
    job: Job,
    tasks: list[tuple[Place, Origins]],
    workers: int | None,
    runner: Runner,
    ray_address: str | None,
    progress: Progress | None,
) -> list[tuple[Place, str | None]]:
    with disk_full_is_an_error(job.parts):
        job.parts.mkdir(exist_ok=True)
    done: list[tuple[Place, str | None]] = []
    if runner == "ray":
        folders = (job.root, job.parts)
        results = run_on_ray(job, tasks, workers=workers, address=ray_address, folders=folders)
    else:
        results = run(job, tasks, workers=min(workers or _cores(), max(1, len(tasks))))
    for (place, _), name in results:
        done.append((place, name))
        if progress is not None:
            progress(len(done), len(tasks))
    return sorted(done, key=lambda pair: pair[0])


def _assemble(
    work: Path,
    target: Path,
    job: Job,
    parts: list[tuple[Place, str | None]],
    refused: list[Refusal],
) -> BuildReport:
    settings = job.settings
    told = ReportBuilder(settings, refused)
    with (
        disk_full_is_an_error(target),
        RowIndex(job.parts, work / "rows.sqlite") as index,
    ):
        keys: list[SplitKey] = []
        for place, name in parts:
            if name is None:
                told.refuse(Refusal(place.path, "Its process died, likely for want of memory."))
                continue
            keys += _add_part(job.parts, name, index, told)
        splits = decide(keys, settings)
        told.splits(splits)
        index.set_splits(splits)
        if settings.split_by != "company":
            told.known_to_train = index.remove_known_to_train()
        if not any(index.count(split) for split in SPLITS):
            first = f" First refusal: {told.problems[0].reason}" if told.problems else ""
            raise EmptyDatasetError(
                f"No filing in '{job.root.name}' gives a question.{first}",
                fix="Check that the folder holds XBRL filings.",
            )
        with directory_in_place(target) as folder:
            for split in SPLITS:
                _write_split(folder / f"{split}.jsonl", split, index, told)
            report = told.finish(target, folder)
            write_json(folder / "report.json", report.details)
    return report


def _add_part(parts: Path, name: str, index: RowIndex, told: ReportBuilder) -> list[SplitKey]:
    """Put the rows of a part into the index; a filing that another part brought stays out."""
    with (parts / name).open("rb") as stream:
        head = json.loads(stream.readline())
        filings = [FilingSummary(**filing) for filing in head["filings"]]
        for refusal in head["refusals"]:
            told.refuse(Refusal(**refusal))
        kept = [told.add(filing) for filing in filings]
        rows: dict[int, tuple[str, Mapping[str, Any]]] = {}
        start = stream.tell()
        for line in stream:
            number, row = json.loads(line)
            if kept[number]:
                rows[start] = (filings[number].identity, row)
            start += len(line)
    index.add(name, rows)
    keys = []
    for filing in (filing for filing, keep in zip(filings, kept, strict=True) if keep):
        index.add_keys(filing.identity, filing.keys)
        filing.keys = []  # they stay on disk
        keys.append(
            SplitKey(
                identity=filing.identity,
                group=filing.cik,
                date=filing.filed or filing.period_end,
                wanted=as_split(filing.split),
            )
        )
    return keys


def _write_split(file: Path, split: SplitName, index: RowIndex, told: ReportBuilder) -> None:
    """Write the rows of a split, no more of them about one concept than the settings allow."""
    most = told.most_for_a_concept(index.count(split)) if split == "train" else None
    concepts: dict[str, int] = {}
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        for _, concept, row in index.rows(split):
            if concept and most is not None:
                if concepts.get(concept, 0) >= most:
                    told.over_the_cap += 1
                    continue
                concepts[concept] = concepts.get(concept, 0) + 1
            row["split"] = split
            told.row(split, row)
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def _origins_of(place: Place, listed: Origins) -> Origins:
    names = (accession_of(place.path), place.path)
    return {name: listed[name] for name in names if name in listed}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _work_folder(target: Path) -> Path:
    return target.parent / f".{target.name}.parts"


@contextlib.contextmanager
def _locked(work: Path) -> Iterator[Path]:
    """Hold the folder of parts for one build. Raises UsageError where another one holds it."""
    with disk_full_is_an_error(work):
        work.mkdir(parents=True, exist_ok=True)
        with (work / "lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    "Another build writes to the same folder.", fix="Wait for its end."
                ) from None
            yield work
