"""How many rows of each task an epoch has, and how they follow one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

from ...errors import UnknownNameError, UsageError

SamplingRule = Literal["proportional", "temperature", "equal"]
RULES: tuple[SamplingRule, ...] = get_args(SamplingRule)


def check_rule(rule: str, *, temperature: float) -> None:
    """Raise UsageError when the rule is none of ``RULES``, or the temperature is not positive."""
    if rule not in RULES:
        raise UnknownNameError("task sampling", rule, RULES)
    if not (math.isfinite(temperature) and temperature > 0):
        raise UsageError(
            f"task_sampling_temperature is {temperature}.", fix="Use a number greater than 0."
        )


def rows_per_epoch(
    sizes: Sequence[int], *, rule: SamplingRule, temperature: float = 1.0
) -> list[int]:
    """Return how many rows of each task an epoch has; their sum is the number of all rows.

    Args:
        sizes: the rows that each task has.
        rule: ``proportional`` takes each row once; ``equal`` takes as many rows of one task as of
            another; ``temperature`` takes a share proportional to ``size ** (1 / temperature)``,
            which is the first rule at 1 and comes near the second as it grows.

    Shares are rounded by the largest remainder.
    """
    if rule == "proportional":
        return list(sizes)
    total = sum(sizes)
    power = 0.0 if rule == "equal" else 1.0 / temperature
    weights = [(size / max(sizes)) ** power for size in sizes]
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def evenly_mixed(counts: Sequence[int]) -> list[int]:
    """Return the numbers of the tasks in an order in which each is spread evenly.

    In every beginning of the order each task is less than one row away from its exact share
    (Tijdeman 1980, "The chairman assignment problem"). Of several tasks that are due, the one
    whose time ends first is taken.

    Args:
        counts: how often each task occurs.
    """
    total, tasks = sum(counts), [i for i, count in enumerate(counts) if count]
    if len(tasks) == 1:
        return tasks * total
    slack = 2 * len(tasks) - 2
    given = dict.fromkeys(tasks, 0)
    order = []
    for place in range(1, total + 1):
        # both sides are multiplied by total * slack, so that they are whole numbers
        owed = {i: slack * (counts[i] * place - total * given[i]) for i in tasks}
        due = [i for i in tasks if owed[i] >= total]
        chosen = min(due, key=lambda i: ((slack - 1) * total - owed[i]) / counts[i])
        given[chosen] += 1
        order.append(chosen)
    return order
