"""``fin-qlora predict``: labels or answers for texts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import EmptyDatasetError
from .output import HUMAN, OutputOption
from .predict_inputs import Input, windows

if TYPE_CHECKING:
    from ..inference import Adapter

#: Width of the column of free answers; longer ones push the text aside.
_ANSWER = 24

#: What stands in the place of a label where none is probable enough.
NO_LABEL = "-"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("predict", short_help="Label texts, answer questions.")(predict)


def predict(
    adapter: Annotated[
        str, typer.Argument(metavar="ADAPTER", help="A folder, or ORG/NAME on your hub.")
    ],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; stdin if left out.")
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]ADAPTER",
            help="Another one on the same base, for rows of its tasks; may be given several times. "
            "With NAME its tasks are NAME/TASK.",
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help=".txt (one a line), .jsonl, or .csv with the prompt's columns."
        ),
    ] = None,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Lines of stdin are JSON: rows, or texts.")
    ] = False,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Which task; else a row's own field 'task', or the only one."
        ),
    ] = None,
    abstain_below: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Give no label that is less probable than this."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of ADAPTER.")] = None,
    quantization: Annotated[
        Literal["auto", "4bit", "8bit", "none"], typer.Option(help="How to load the base.")
    ] = "auto",
    verify: Annotated[
        Literal["first", "full", "none"],
        typer.Option(help="Canaries to replay: one of each task, all of them, or none."),
    ] = "first",
    output: OutputOption = HUMAN,
) -> None:
    """Print the label of every text and how probable it is, or the answer; JSON is one a line.

    Rows are answered as they come: a line of stdin need not wait for the next one.
    """
    rows = windows(texts or [], file, jsonl=jsonl)
    first = next(rows, None)
    if first is None:
        raise EmptyDatasetError("There is no text to predict.", fix="Give one, or check the file.")
    from ..inference import load_adapter

    replay: dict[str, bool | Literal["full"]] = {"first": True, "full": "full", "none": False}
    output.note(f"Loading {adapter}")
    loaded = load_adapter(
        adapter, revision=revision, quantization=quantization, verify=replay[verify]
    )
    for another in add or []:
        name, reference = _named(another)
        output.note(f"Adding {reference}")
        loaded.add(reference, name=name, verify=replay[verify])
    width = _width(loaded)
    free = any(contract.grammar != "label" for contract in loaded.tasks.values())
    if output.format == "human":
        output.line({}, human=f"{'ANSWER' if free else 'LABEL':<{width}}  SCORE  TEXT", quiet="")
    done = 0
    for window in itertools.chain([first], rows):
        answers = _answers(loaded, window, task=task, abstain_below=abstain_below, first=done + 1)
        done += len(window)
        for row, found in zip(window, answers, strict=True):
            said = found["label"] if "label" in found else found["answer"]
            answer = NO_LABEL if said is None else " ".join(said.split())
            score = f"{found['score']:.3f}" if "score" in found else ""
            output.line(
                {"input": row, **found},
                human=f"{answer:<{width}}  {score:5}  {_one_line(row)}",
                quiet=answer,
            )


def _named(another: str) -> tuple[str | None, str]:
    """Return the name and the reference that ``--add`` gives; a folder may have a '=' in it."""
    name, equals, reference = another.partition("=")
    if not equals or Path(another).is_dir():
        return None, another
    return name or None, reference


def _width(loaded: Adapter) -> int:
    """Return the width of the first column: of labels the longest, of answers some."""
    contracts = loaded.tasks.values()
    return max(max(map(len, contract.labels), default=_ANSWER) for contract in contracts)


def _answers(
    loaded: Adapter,
    window: list[Input],
    *,
    task: str | None,
    abstain_below: float | None,
    first: int,
) -> Iterator[dict[str, Any]]:
    """Yield what the adapter says of each row: labels are scored, free answers written.

    Args:
        first: number of the window's first row, for messages.
    """
    from ..inference.reading.faults import numbered

    names = [loaded.task_of(row, task=task) for row in window]
    free = [loaded.tasks[name].grammar != "label" for name in names]
    labelled = [place for place, is_free in enumerate(free) if not is_free]
    asked = [place for place, is_free in enumerate(free) if is_free]
    with numbered(asked, first=first):
        written = iter(loaded.generate([window[n] for n in asked], task=task) if asked else ())
    predicted = loaded.stream([window[n] for n in labelled], task=task, abstain_below=abstain_below)
    for name, is_free in zip(names, free, strict=True):
        of_task = {"task": name} if len(loaded.tasks) > 1 else {}
        if is_free:
            one = next(written)
            yield {**of_task, "answer": one.text, "finished": one.finished}
        else:
            with numbered(labelled, first=first):
                each = next(predicted)
            yield {**of_task, "label": each.label, "score": each.score, "scores": each.scores}


def _one_line(row: Input) -> str:
    if isinstance(row, str):
        return " ".join(row.split())
    text = " ".join(str(row.get("text", "")).split())
    rest = [
        f"{name}={value}" for name, value in row.items() if name not in ("text", "label", "task")
    ]
    return f"{text}  [{', '.join(rest)}]" if rest else text
