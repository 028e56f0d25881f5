"""``fin-qlora data verify`` and ``audit``: is the data as published, and is it fit for use?"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import FindingsError, MissingFileError
from .data_options import DataDir, Preset, Seed, Settings, Tasks, chosen, counted, folder, rule_of
from .output import HUMAN, Output, OutputOption, table

if TYPE_CHECKING:
    from ..data.audit import TaskAudit
    from ..data.verify import FormCheck
    from ..tasks import RawForm, SplitRule, Task


def register(group: typer.Typer) -> None:
    """Add the commands to the group."""
    group.command("verify", short_help="Are the files what was published?")(verify)
    group.command("audit", short_help="Repeats, contradictions, leaks, majority, licence.")(audit)


def verify(
    data_dir: DataDir,
    tasks: Tasks = None,
    settings: Settings = None,
    output: OutputOption = HUMAN,
) -> None:
    """Hold every file against what its task expects: records, labels, digests.

    A file with a part of the published records is told, and is no finding. Exits with 1 when a
    file cannot be read, holds more than was published, or has another digest.
    """
    from ..data.forms import forms_present
    from ..data.parallel import in_parallel

    place = folder(data_dir)
    jobs = [
        (task, form)
        for task in chosen(tasks, settings)
        if tasks or not task.view_of
        for form in forms_present(task, place)
    ]
    if not jobs:
        raise MissingFileError(f"'{place}' holds no file of these tasks.")
    checks = in_parallel(functools.partial(_verified, data_dir=place), jobs, title="verifying")
    unread = [] if tasks else _files_of_no_task(place)
    _show_checks(checks, unread, output)
    findings = [finding for check in checks for finding in check.findings]
    if findings:
        raise FindingsError(" ".join(findings))


def audit(
    data_dir: DataDir,
    tasks: Tasks = None,
    settings: Settings = None,
    preset: Preset = "",
    seed: Seed = None,
    output: OutputOption = HUMAN,
) -> None:
    """Look for repeats, contradictions and leaks, in raw files or in a prepared folder.

    Raw files are audited as they were published; `data prepare` leaves out what leaks. Exits with
    1 when something that is scored is also in what is trained on.
    """
    from ..data.parallel import in_parallel
    from ..data.prepared import read_manifest

    place = folder(data_dir)
    wanted = chosen(tasks, settings)
    manifest = read_manifest(place)
    if manifest is not None and not tasks:
        wanted = [task for task in wanted if task.name == manifest["task"]]
    elif not tasks:
        wanted = [task for task in wanted if not task.view_of]
    jobs = [(task, rule_of(task, preset=preset, seed=seed)) for task in wanted]
    work = functools.partial(_audited, data_dir=place, named=bool(tasks))
    found = in_parallel(work, jobs, title="auditing")
    audits = [one for one in found if one is not None]
    if not audits:
        raise MissingFileError(
            f"'{place}' holds no rows of these tasks.", fix="Check --data-dir, and name the task."
        )
    _show_audits(audits, output)
    leaking = [one.task for one in audits if one.leaks]
    if leaking:
        raise FindingsError(
            f"Rows or groups that are scored are also trained on: {', '.join(leaking)}.",
            fix="`fin-qlora data prepare` leaves them out of train.",
        )


def _verified(job: tuple[Task, RawForm], *, data_dir: Path) -> FormCheck:
    from ..data.verify import verify_form

    task, form = job
    return verify_form(form, task, data_dir)


def _audited(job: tuple[Task, SplitRule], *, data_dir: Path, named: bool) -> TaskAudit | None:
    from ..data.audit import audit_task

    task, rule = job
    return audit_task(task, data_dir, rule=rule, named=named)


def _files_of_no_task(data_dir: Path) -> list[str]:
    """Return the data files that no task reads, so that none is passed over unseen."""
    from ..tasks import shipped

    known = {file.path for task in shipped() for form in task.source.forms for file in form.files}
    endings = {".csv", ".tsv", ".json", ".jsonl", ".parquet", ".txt"}
    below = (path for path in data_dir.rglob("*") if path.suffix in endings and path.is_file())
    return sorted(
        name for path in below if (name := path.relative_to(data_dir).as_posix()) not in known
    )


def _show_checks(checks: list[FormCheck], unread: list[str], output: Output) -> None:
    rows = []
    remarks = []
    for check in checks:
        for file in check.files:
            rows.append(
                (
                    check.task,
                    file.path,
                    f"{file.records:,}",
                    "?" if file.published is None else f"{file.published:,}",
                    file.status,
                    file.digest,
                    f"{check.rows:,}" if file is check.files[0] else "",
                )
            )
        name = check.files[0].path
        for head, counts in (
            ("labels", check.labels),
            ("left out", check.dropped),
            ("changed", check.changed),
            ("seen and left", check.seen),
        ):
            if counts:
                remarks.append(f"{name}: {head}: {counted(counts)}")
        remarks += [f"{name}: {note}" for note in check.notes]
    if unread:
        remarks.append(f"Read by no task: {', '.join(unread)}")
    columns = ("TASK", "FILE", "RECORDS", "PUBLISHED", "STATUS", "DIGEST", "ROWS")
    output.result(
        {"checks": [check.to_dict() for check in checks], "read_by_no_task": unread},
        human="\n".join([table(columns, rows), "", *remarks]),
        quiet="\n".join(finding for check in checks for finding in check.findings),
    )


def _show_audits(audits: list[TaskAudit], output: Output) -> None:
    parts, overlaps, remarks = [], [], []
    for one in audits:
        for part in one.parts:
            parts.append(
                (
                    one.task,
                    part.part,
                    f"{part.rows:,}",
                    f"{part.effective:,}",
                    f"{part.exact_repeats:,}/{part.normalised_repeats:,}/{part.loose_repeats:,}",
                    f"{part.contradictory:,}",
                    f"{part.majority_share:.1%} {part.majority[:24]}",
                )
            )
        for shared in one.overlaps:
            groups = ", ".join(f"{name} {count:,}" for name, count in shared.groups.items())
            overlaps.append(
                (
                    one.task,
                    f"{shared.held_out} in {shared.seen}",
                    f"{shared.exact:,}",
                    f"{shared.normalised:,}",
                    f"{shared.other_label:,}",
                    groups,
                    "LEAK" if shared.found else "clean",
                )
            )
        terms = f"{one.task}: licence {one.licence}"
        remarks.append(terms + (", NOT FOR COMMERCIAL USE" if one.noncommercial else ""))
        remarks += [f"{one.task}: {note}" for note in one.notes]
    figures = table(
        ("TASK", "PART", "ROWS", "EFFECTIVE", "REPEATS a/b/c", "CONTRARY", "MAJORITY"), parts
    )
    legend = "Repeats: a to the letter, b without links, case and blanks, c by the words alone."
    shared_rows = table(
        ("TASK", "SCORED IN TRAINED", "EXACT", "NORMALISED", "OTHER LABEL", "GROUPS", ""), overlaps
    )
    output.result(
        {"audits": [one.to_dict() for one in audits]},
        human="\n".join([figures, legend, *(["", shared_rows] if overlaps else []), "", *remarks]),
        quiet="\n".join(one.task for one in audits if one.leaks),
    )
