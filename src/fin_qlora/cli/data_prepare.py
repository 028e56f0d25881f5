"""``fin-qlora data prepare``: raw files become splits on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .data_options import Preset, Seed, Settings, Share, chosen, counted, rule_of
from .output import HUMAN, Output, OutputOption, table

if TYPE_CHECKING:
    from ..data.prepare import Prepared
    from ..tasks import SplitRule, Task


@dataclass(frozen=True, kw_only=True)
class _Job:
    task: Task
    rule: SplitRule
    data_dir: Path | None
    out: Path
    from_hub: bool
    revision: str | None


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("prepare", short_help="Turn raw files into splits to train on.")(prepare)


def prepare(
    tasks: Annotated[
        list[str], typer.Argument(metavar="TASK...", help="Names, or .yaml and .py files.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where to; one folder a task if there are several.")
    ],
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder that holds the raw files.")
    ] = None,
    preset: Preset = "",
    seed: Seed = None,
    test: Share = None,
    validation: Share = None,
    settings: Settings = None,
    from_hub: Annotated[
        bool, typer.Option("--from-hub", help="Read from the hub that HF_ENDPOINT names.")
    ] = False,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
    output: OutputOption = HUMAN,
) -> None:
    """Write train, validation and test as parquet with a manifest that says how they came to be.

    The same data gives the same bytes; a folder that holds them already is left alone.
    """
    if from_hub == (data_dir is not None):
        raise UsageError("Give one of --data-dir and --from-hub.")
    if revision and not from_hub:
        raise UsageError("--revision goes with --from-hub.")
    from ..data.parallel import in_parallel

    wanted = chosen(tasks, settings)
    jobs = [
        _Job(
            task=task,
            rule=rule_of(task, preset=preset, seed=seed, test=test, validation=validation),
            data_dir=data_dir,
            out=out / task.name if len(wanted) > 1 else out,
            from_hub=from_hub,
            revision=revision,
        )
        for task in wanted
    ]
    found = in_parallel(_prepared, jobs, title="preparing")
    _show(found, output)


def _prepared(job: _Job) -> Prepared:
    from ..data.prepare import prepare as run

    return run(
        job.task,
        data_dir=job.data_dir,
        out=job.out,
        rule=job.rule,
        from_hub=job.from_hub,
        revision=job.revision,
    )


def _show(found: list[Prepared], output: Output) -> None:
    rows, remarks = [], []
    for one in found:
        for split, entry in one.manifest["splits"].items():
            left = counted(entry["dropped"]) or "-"
            rows.append(
                (
                    one.manifest["task"],
                    split,
                    f"{entry['rows']:,}" + (" of a part" if entry["partial"] else ""),
                    counted({k: n for k, n in entry["labels"].items() if n}) or "-",
                    left,
                )
            )
            remarks += [f"{one.manifest['task']} {split}: {note}" for note in entry["notes"]]
        done = "Wrote" if one.fresh else "Up to date:"
        remarks.append(f"{done} {one.folder} (digest {one.manifest['digest'][:12]})")
        if one.manifest["licence"]["noncommercial"]:
            remarks.append(f"{one.manifest['task']}: not for commercial use.")
    output.result(
        {"prepared": [{"folder": str(o.folder), "fresh": o.fresh, **o.manifest} for o in found]},
        human="\n".join(
            [table(("TASK", "SPLIT", "ROWS", "LABELS", "LEFT OUT"), rows), "", *remarks]
        ),
        quiet="\n".join(str(one.folder) for one in found),
    )
