"""What became of free answers: how many are right, and what is wrong with the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from ..errors import EmptyDatasetError
from ..tasks.answers import Outcome, Score, token_f1
from ..tasks.task import Metric

#: The class of answers that cannot be read, where answers are classes; no text is spelled so.
_MISSED: Final = "\0"


@dataclass(frozen=True, kw_only=True)
class ScoredAnswer:
    """One free answer: what was right, what was written, and what became of it."""

    gold: str
    output: str
    finished: bool
    score: Score


@dataclass(frozen=True, kw_only=True)
class AnswerScores:
    """Scores over ``n`` free answers, all as shares of one where nothing else is said.

    Attributes:
        accuracy: right answers / rows; a rounded number is not right.
        majority: accuracy of always giving the most frequent right answer.
        outcomes: what became of the answers -> rows; ``none`` counts those that cannot be read.
        unfinished: answers that were still going on when their room ended.
        metrics: the further figures that the task is told by.
        by_seen: ``seen`` and ``unseen`` -> ``n`` and ``accuracy`` of the rows whose right answer
            occurs, or does not occur, in training; None where that is not known.
    """

    n: int
    accuracy: float
    majority: float
    outcomes: dict[Outcome, int]
    unfinished: int
    metrics: dict[str, float]
    by_seen: dict[str, dict[str, float | None]] | None = None

    @property
    def accuracy_when_rounded(self) -> float:
        """Return the share of answers that are right or rounded."""
        return (self.outcomes["exact"] + self.outcomes["rounded"]) / self.n

    @property
    def invalid(self) -> int:
        """Return how many answers could not be read."""
        return self.outcomes["none"]

    def figures(self) -> dict[str, Any]:
        """Return what the evidence tells of these scores besides rows and majority."""
        return {
            "accuracy": self.accuracy,
            "metrics": self.metrics,
            "outcomes": self.outcomes,
            "unfinished": self.unfinished,
        }


def answer_scores(
    answers: Sequence[ScoredAnswer],
    *,
    metrics: Sequence[Metric],
    seen: Collection[str] | None = None,
) -> AnswerScores:
    """Count outcomes and compute the metrics that a task names.

    ``exact_match`` is the share of answers that are the right one to the letter, ``token_f1`` the
    mean F1 of words. F1 over classes takes each right answer for a class: ``macro_f1`` and
    ``weighted_f1`` are means over the classes among the right answers, ``micro_f1`` pools all
    answers, of which the unreadable ones are missed and not guessed.

    Args:
        seen: the right answers of the training rows, such as their tags; None where not known.

    Raises EmptyDatasetError when there is no answer.
    """
    if not answers:
        raise EmptyDatasetError("There is no row to score.")
    counted = Counter(one.score.outcome for one in answers)
    golds = Counter(one.gold for one in answers)
    right = counted["exact"] / len(answers)
    return AnswerScores(
        n=len(answers),
        accuracy=right,
        majority=golds.most_common(1)[0][1] / len(answers),
        outcomes={outcome: counted[outcome] for outcome in get_args(Outcome)},
        unfinished=sum(not one.finished for one in answers),
        metrics={name: _metric(name, answers) for name in metrics if name != "accuracy"},
        by_seen=None if seen is None else _by_seen(answers, frozenset(seen)),
    )


def _by_seen(
    answers: Sequence[ScoredAnswer], seen: frozenset[str]
) -> dict[str, dict[str, float | None]]:
    parts = {
        "seen": [one.score.correct for one in answers if one.gold in seen],
        "unseen": [one.score.correct for one in answers if one.gold not in seen],
    }
    return {
        name: {"n": len(right), "accuracy": sum(right) / len(right) if right else None}
        for name, right in parts.items()
    }


def _metric(name: Metric, answers: Sequence[ScoredAnswer]) -> float:
    if name == "exact_match":
        return sum(one.output == one.gold for one in answers) / len(answers)
    if name == "token_f1":
        return sum(token_f1(one.output, one.gold) for one in answers) / len(answers)
    return _class_f1(name.removesuffix("_f1"), answers)


def _class_f1(average: str, answers: Sequence[ScoredAnswer]) -> float:
    from sklearn.metrics import f1_score

    gold = [one.gold for one in answers]
    named = _classes_by_name(set(gold))
    read = [one.gold if one.score.correct else _class_of(one.score, named) for one in answers]
    classes = set(gold) | (set(read) - {_MISSED} if average == "micro" else set())
    return float(f1_score(gold, read, labels=sorted(classes), average=average, zero_division=0.0))


def _class_of(score: Score, named: Mapping[str, str]) -> str:
    """Return the class that a wrong answer is; a tag counts for its class also without prefix."""
    read = score.read or _MISSED
    return named.get(read, read) if "prefix_missing" in score.flags else read


def _classes_by_name(classes: Collection[str]) -> dict[str, str]:
    """Return name -> class of those tags that no other one shares its name with."""
    name_of = {one: one.partition(":")[2] for one in classes}
    times = Counter(name_of.values())
    return {name: one for one, name in name_of.items() if times[name] == 1}
