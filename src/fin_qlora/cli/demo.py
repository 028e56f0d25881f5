"""``fin-qlora demo``: the whole way on this machine, from a base model to a served adapter."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import FindingsError
from ..evidence import check
from ..files import write_json
from .output import HUMAN, OutputOption, table, tell

#: How far the tuned model must be above the base and above the commonest label.
MARGIN = 0.10


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("demo", short_help="Show the whole way on this machine, in minutes.")(demo)


def demo(
    directory: Annotated[
        Path, typer.Option(metavar="DIR", help="Where adapters and summary.json go.")
    ] = Path(".demo"),
    keep_hub: Annotated[
        bool, typer.Option("--keep-hub", help="Leave the hub up at the end, until Ctrl-C.")
    ] = False,
    output: OutputOption = HUMAN,
) -> None:
    """Start a hub, fine-tune a tiny model on two tasks, publish, load, predict; a few minutes.

    Everything runs on this machine, on synthetic data made for the purpose. The results are
    printed and written to DIR/summary.json. Exit 1 if an adapter is not clearly better than the
    base and the commonest label.
    """
    started = time.monotonic()
    path = directory / "summary.json"
    path.unlink(missing_ok=True)
    summary = _run(directory, started, keep_hub=keep_hub, quiet=output.format == "quiet", path=path)
    output.result(summary, human=_human(summary, path), quiet=str(path))
    weak = [name for name, task in summary["tasks"].items() if not _clear(task)]
    if weak:
        raise FindingsError(
            f"The adapter for {' and '.join(weak)} is not {MARGIN:.2f} above base and majority.",
            fix="Run the demo again; if that stays, something is broken.",
        )


def _run(
    directory: Path, started: float, *, keep_hub: bool, quiet: bool, path: Path
) -> dict[str, Any]:
    from .demo_hub import demo_hub
    from .demo_steps import BASE, TASKS, USER, Steps

    with tempfile.TemporaryDirectory(prefix="fin-qlora-demo-") as place:
        if not quiet:
            tell("Starting a hub on a free port of this machine")
        with demo_hub(Path(place), user=USER) as hub:
            steps = Steps(directory=directory, hub=hub, started=started, quiet=quiet)
            steps.say(f"The hub answers at {hub.url}")
            commit = steps.publish_base()
            figures = {task.name: steps.train(task, base_commit=commit) for task in TASKS}
            published = {task.name: steps.push(task) for task in TASKS}
            answers = {
                task.name: steps.predict(task, revision=published[task.name]["commit"])
                for task in TASKS
            }
            summary = {
                "synthetic": True,
                "tasks": {
                    name: {**figures[name], **published[name], "predictions": answers[name]}
                    for name in figures
                },
                "base": {"repo": BASE, "commit": commit},
                "hub": hub.url,
                "seconds": round(time.monotonic() - started, 1),
            }
            check(summary, schema="demo_summary", place=str(path))
            write_json(path, summary)
            if keep_hub:
                _wait(hub.url, hub.token)
    return summary


def _wait(url: str, token: str) -> None:
    tell(f"The hub stays up until Ctrl-C:\n  export HF_ENDPOINT={url} HF_TOKEN={token}")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        tell("Stopping the hub")


def _clear(task: dict[str, Any]) -> bool:
    return bool(task["tuned"] >= max(task["base"], task["majority"]) + MARGIN)


def _human(summary: dict[str, Any], path: Path) -> str:
    columns = (
        "TASK",
        "ROWS",
        "MAJORITY",
        "BASE",
        "TUNED",
        "BASE F1",
        "TUNED F1",
        "TIME",
        "ON THE HUB",
    )
    figures = ("majority", "base", "tuned", "base_f1", "tuned_f1")
    rows = [
        (
            name,
            str(task["n"]),
            *(f"{task[figure]:.3f}" for figure in figures),
            f"{task['seconds']:.0f} s",
            task["repo"],
        )
        for name, task in summary["tasks"].items()
    ]
    title = "Accuracy and weighted F1 on SYNTHETIC data, rows that were not trained on"
    answers = [
        f"  {answer['label']:<12}  {answer['score']:.2f}  {_text(answer['input'])}"
        for task in summary["tasks"].values()
        for answer in task["predictions"]
    ]
    end = f"{summary['seconds']:.0f} s in all. Written to {path}"
    return "\n".join(
        [
            table(columns, rows, title=title),
            "",
            "Asked of the adapters on the hub:",
            *answers,
            "",
            end,
        ]
    )


def _text(given: str | dict[str, str]) -> str:
    if isinstance(given, str):
        return given
    return f"{given['text']}  [{given['entity']}]" if "entity" in given else given["text"]
