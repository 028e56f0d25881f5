"""Choosing the worked examples of a prompt."""

from __future__ import annotations

import hashlib
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import EmptyDatasetError, UsageError
from .layout import Shot

if TYPE_CHECKING:
    from .contract import PromptContract


def choose_shots(
    contract: PromptContract, rows: Sequence[Mapping[str, Any]], *, count: int, seed: int
) -> tuple[Shot, ...]:
    """Choose worked examples among training rows: balanced over the labels, the same every time.

    The choice depends on the seed and on what the rows say, not on their order. Each label has its
    turn before one comes twice; rows that are longer than the median are passed over, since every
    prompt carries the examples along. Free answers are all different as long as there are enough.

    Args:
        rows: training rows only, with ``label``: a shot of the evaluation rows would be a leak.
        count: 0, 1 or more.

    Raises:
        EmptyDatasetError: there are fewer rows to choose from than shots.
    """
    if count < 0:
        raise UsageError(f"shots is {count}.", fix="Use 0, 1 or more.")
    shots = {_shot(contract, row): None for row in rows} if count else {}
    if len(shots) < count:
        raise EmptyDatasetError(
            f"{count} shots are asked for, but there are {len(shots)} different training rows.",
            fix="Ask for fewer shots.",
        )
    by_answer: dict[str, list[Shot]] = defaultdict(list)
    for shot in sorted(shots, key=lambda shot: _rank(shot, seed)):
        by_answer[shot.answer].append(shot)
    middle = statistics.median([len(shot.input) for shot in shots]) if shots else 0
    for queue in by_answer.values():
        queue.sort(key=lambda shot: len(shot.input) > middle)  # stable: the rank decides
    turns = sorted(by_answer, key=lambda answer: _draw(seed, answer))
    chosen: list[Shot] = []
    while len(chosen) < count:
        for answer in turns:
            if by_answer[answer] and len(chosen) < count:
                chosen.append(by_answer[answer].pop(0))
    # in an order of its own, so that the labels do not come round in turn
    return tuple(sorted(chosen, key=lambda shot: _draw(seed, "order", *_parts(shot))))


def without_shots(contract: PromptContract, rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return the rows whose question is not one of the contract's worked examples.

    To train on a row whose answer stands in its own prompt teaches copying.
    """
    asked = {shot.question for shot in contract.shots}
    return [row for row in rows if not asked or contract.question(row) not in asked]


def _shot(contract: PromptContract, row: Mapping[str, Any]) -> Shot:
    question = contract.question(row)
    return Shot(instruction=question.instruction, input=question.input, answer=contract.gold(row))


def _parts(shot: Shot) -> tuple[str, str, str]:
    return shot.instruction, shot.input, shot.answer


def _rank(shot: Shot, seed: int) -> bytes:
    return _draw(seed, "choice", *_parts(shot))


def _draw(seed: int, *parts: str) -> bytes:
    return hashlib.sha256("\0".join([str(seed), *parts]).encode("utf-8", "surrogatepass")).digest()
