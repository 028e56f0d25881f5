"""Rows for several tasks and adapters: each asked by its own, results in the rows' order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from ...errors import ContractError, FinQloraError, TruncatedAnswerError
from ..generation import generate_answers
from ..reading.batches import Progress
from ..reading.faults import numbered
from ..scoring import label_log_likelihoods
from .mixing import Mixture
from .roster import Route

Row = Mapping[str, Any] | str
Inputs = Iterable[Row] | str

#: What is wanted of a row: the log-likelihoods of its labels, or an answer in words.
Wanted = Literal["score", "generate"]

_ASK: dict[Wanted, Callable[..., list[Any]]] = {
    "score": label_log_likelihoods,
    "generate": generate_answers,
}

#: Batches of a stream that are read ahead, so that rows of like length meet in one.
_AHEAD = 8


def ask_by_route(
    wanted: Wanted,
    rows: Sequence[Row],
    routes: Sequence[Route],
    *,
    batch_size: int,
    progress: Progress | None = None,
    found: dict[int, Any] | None = None,
    first: int = 1,
) -> list[Any]:
    """Ask each row by its adapter for its task; return the results in the rows' order.

    Rows of one task are asked together. Where labels of several adapters are scored, those that
    have less than a batch of rows share batches, if PEFT can mix them.

    Args:
        routes: of each row, its adapter and task.
        found: gets the result of each row as it comes, by its place.
        first: number of the first row, for messages.
    """
    found = {} if found is None else found
    try:
        _ask_groups(
            wanted,
            rows,
            routes,
            batch_size=batch_size,
            progress=progress,
            found=found,
            first=first,
        )
    except ContractError as error:
        raise _naming(error, rows, routes, first=first) from error
    return [found[place] for place in range(len(rows))]


def _ask_groups(
    wanted: Wanted,
    rows: Sequence[Row],
    routes: Sequence[Route],
    *,
    batch_size: int,
    progress: Progress | None,
    found: dict[int, Any],
    first: int,
) -> None:
    groups: dict[tuple[str, str], list[int]] = {}
    by_group = {(one.slot, task): (one, task) for one, task in routes}
    for place, (one, task) in enumerate(routes):
        groups.setdefault((one.slot, task), []).append(place)
    mixed = _to_mix(groups, by_group, batch_size) if wanted == "score" else []
    together = sorted(place for key in mixed for place in groups[key])
    mixture = None
    if together:
        with numbered(together, first=first):
            mixture = Mixture.of(
                [rows[place] for place in together], [routes[place] for place in together]
            )

    def ask(places: Sequence[int], call: Callable[..., Any]) -> None:
        before = len(found)
        with numbered(places, first=first):
            call(
                batch_size=batch_size,
                progress=(lambda done: progress(before + done)) if progress else None,
                keep=lambda some, values: found.update(
                    zip([places[i] for i in some], values, strict=True)
                ),
            )

    for key, places in sorted(groups.items(), key=lambda group: group[0][0]):
        if mixture is not None and key in mixed:
            continue
        one, task = by_group[key]
        one.activate()
        given = [rows[place] for place in places]
        ask(places, partial(_ASK[wanted], one.model, one.tokenizer, one.tasks[task], given))
    if mixture is not None:
        ask(together, mixture.log_likelihoods)


def ask_stream(
    wanted: Wanted,
    inputs: Inputs,
    route: Callable[[Sequence[Row]], Sequence[Route]],
    *,
    batch_size: int,
) -> Iterator[tuple[Row, Any]]:
    """Yield each row with its result, in order, reading only some batches ahead.

    When something fails, the rows before the first one without a result are yielded, and then it
    is raised.
    """
    rows = iter([inputs] if isinstance(inputs, str) else inputs)
    size, before = batch_size, 0
    while window := list(itertools.islice(rows, max(size, 1))):
        found: dict[int, Any] = {}
        fault: FinQloraError | None = None
        try:
            ask_by_route(
                wanted,
                window,
                route(window),
                batch_size=batch_size,
                found=found,
                first=before + 1,
            )
        except FinQloraError as error:
            fault = error
        for place in itertools.takewhile(found.__contains__, range(len(window))):
            yield window[place], found[place]
        if fault is not None:
            raise fault
        before += len(window)
        size = batch_size * _AHEAD


def _to_mix(
    groups: Mapping[tuple[str, str], Sequence[int]],
    by_group: Mapping[tuple[str, str], Route],
    batch_size: int,
) -> list[tuple[str, str]]:
    """Return the groups with less than a batch of rows, where they are of several adapters."""
    few = [
        key
        for key, places in groups.items()
        if len(places) < batch_size
        and by_group[key][0].mixes
        and by_group[key][0].tasks[key[1]].labels
    ]
    return few if len({slot for slot, _ in few}) > 1 else []


def _naming(
    error: ContractError, rows: Sequence[Row], routes: Sequence[Route], *, first: int
) -> ContractError:
    """Return the error of the first row that makes no prompt, with the row's number."""
    for number, (row, (one, task)) in enumerate(zip(rows, routes, strict=True), start=first):
        try:
            one.tasks[task].prompt(one.tokenizer, row)
        except TruncatedAnswerError:
            continue
        except ContractError as found:
            return ContractError(f"Input {number}: {found.message}", fix=found.fix)
    return error
