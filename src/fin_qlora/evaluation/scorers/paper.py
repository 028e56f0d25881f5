"""The paper scorer: how the published figures were counted, each habit of it on a switch.

Written from what the paper-time evaluation of FinLoRA does (its forks of November 2024), for
sentiment, headlines, entity types and XBRL answers. What a prompt's length limits did to an output
is not part of it: it judges outputs as they were saved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final, Literal, TypeAlias, get_args

from ...errors import EmptyDatasetError, UsageError
from ..metrics import INVALID
from .judged import Judged, Saved
from .strict import read_label, score

Deviation: TypeAlias = Literal[
    "substring",
    "unreadable_is_neutral",
    "seven_to_three",
    "exchanged_f1",
    "starts_with",
    "first_piece",
    "drop_tail",
    "zero_f1",
]

#: What each habit is, and what the strict scorer does instead.
DEVIATIONS: Final[dict[Deviation, str]] = {
    "substring": "A label counts wherever it stands in the text, in a fixed order of labels "
    "(positive before negative, yes before no, organization before person); strict: the text is "
    "the label.",
    "unreadable_is_neutral": "Sentiment that names neither pole is neutral, also where the text is "
    "empty; strict: invalid.",
    "seven_to_three": "Right answers and outputs of seven steps fall into three classes, mildly "
    "positive into positive; strict: seven classes.",
    "exchanged_f1": "Where seven steps fall into three, right answers and outputs change places in "
    "the weighted F1, so that classes weigh as they were predicted; strict: as they occur.",
    "starts_with": "A free answer is right when it begins with the right one, to the letter; "
    "strict: the task reads the answer and compares what it means.",
    "first_piece": "What counts is the piece after the first 'Answer:' of prompt and output, up to "
    "the next one; strict: the output.",
    "drop_tail": "Free answers after the last whole batch are not asked and not counted; strict: "
    "every row counts.",
    "zero_f1": "The F1 of free answers is the constant 0; strict: none is given.",
}

_POLES: Final = ("positive", "negative")
#: Labels of a set -> the order in which they are looked for, whatever their case.
_ORDERS: Final = {
    frozenset({"yes", "no"}): ("yes", "no"),
    frozenset({"person", "organization", "location"}): ("organization", "person", "location"),
}


def paper(
    saved: Saved,
    *,
    deviations: Collection[Deviation] = get_args(Deviation),
    batch_size: int = 8,
) -> Judged:
    """Judge as the paper's evaluation did; with no ``deviations`` it is the strict scorer.

    Args:
        deviations: the habits that are followed; all where left out.
        batch_size: of the run of free answers, for ``drop_tail``: by the figures' denominators 8
            for the 8B models and 2 for the 70B model.

    Raises:
        EmptyDatasetError: there is no row, or no whole batch.
        UsageError: the paper's evaluation has no rule for such labels.
    """
    if not saved.rows:
        raise EmptyDatasetError("There is no row to score.")
    texts = [
        _first_piece(text, index, saved) if "first_piece" in deviations else text
        for index, text in enumerate(saved.texts)
    ]
    if saved.labels:
        return _labels(texts, saved, deviations)
    return _free(texts, saved, deviations, batch_size=batch_size)


def _labels(texts: Sequence[str], saved: Saved, deviations: Collection[Deviation]) -> Judged:
    sentiment = _is_sentiment(saved.labels)
    if not sentiment and _order(saved.labels) is None:
        raise UsageError(
            f"The paper's evaluation has no rule for the labels {', '.join(saved.labels)}.",
            fix="Score with --scorer strict.",
        )
    collapses = sentiment and len(saved.labels) > 3 and "seven_to_three" in deviations
    read = [_read(text, saved, deviations, collapses=collapses) for text in texts]
    golds = [_pole(gold) if collapses else gold for gold in saved.golds]
    right = [one == gold for one, gold in zip(read, golds, strict=True)]
    exchanged = collapses and "exchanged_f1" in deviations
    return Judged(
        scorer="paper",
        n=len(right),
        scored=len(right),
        right=tuple(right),
        read=tuple(read),
        accuracy=sum(right) / len(right),
        weighted_f1=weighted_f1(read, golds) if exchanged else weighted_f1(golds, read),
        invalid=read.count(None),
    )


def _read(
    text: str, saved: Saved, deviations: Collection[Deviation], *, collapses: bool
) -> str | None:
    found = (
        _contained(text, saved.labels, collapses=collapses)
        if "substring" in deviations
        else read_label(text, saved)
    )
    if collapses and found is not None:
        found = _pole(found)
    if found is None and "unreadable_is_neutral" in deviations and _is_sentiment(saved.labels):
        return "neutral"
    return found


def _contained(text: str, labels: tuple[str, ...], *, collapses: bool) -> str | None:
    """Return the first label that the text contains, in the order of the paper's rules."""
    if _is_sentiment(labels):
        if collapses or len(labels) == 3:
            return _pole(text) if _has_pole(text) or "neutral" in text else None
        return next((label for label in labels if label in text), None)
    spellings = {label.lower(): label for label in labels}
    order = _order(labels) or ()
    return next((spellings[word] for word in order if word in text.lower()), None)


def _order(labels: Sequence[str]) -> tuple[str, ...] | None:
    return _ORDERS.get(frozenset(label.lower() for label in labels))


def _is_sentiment(labels: Sequence[str]) -> bool:
    return "neutral" in labels and all(label == "neutral" or _has_pole(label) for label in labels)


def _has_pole(text: str) -> bool:
    # all capitals are neither spelling, and so are no pole
    return any(pole in text or pole.title() in text for pole in _POLES)


def _pole(text: str) -> str:
    return next((pole for pole in _POLES if pole in text or pole.title() in text), "neutral")


def weighted_f1(true: Sequence[str | None], predicted: Sequence[str | None]) -> float:
    """Return the mean F1 of the classes, weighted by how often they are true.

    Whatever is predicted is a class; None is ``invalid``.
    """
    gold = Counter(one or INVALID for one in true)
    read = Counter(one or INVALID for one in predicted)
    hits = Counter(
        one or INVALID for one, other in zip(true, predicted, strict=True) if one == other
    )
    return sum(count * 2 * hits[name] / (count + read[name]) for name, count in gold.items()) / len(
        true
    )


def _free(
    texts: Sequence[str], saved: Saved, deviations: Collection[Deviation], *, batch_size: int
) -> Judged:
    n = len(texts)
    counted = n // batch_size * batch_size if "drop_tail" in deviations else n
    if not counted:
        raise EmptyDatasetError(
            f"{n} rows make no whole batch of {batch_size}: the paper's scorer counts none.",
            fix="Pass a smaller --batch-size.",
        )
    right: list[bool | None] = []
    read: list[str | None] = []
    invalid = 0
    for index, text in enumerate(texts):
        if index >= counted:
            right.append(None)
            read.append(None)
        elif "starts_with" in deviations:
            spoken = text.strip()
            right.append(spoken.startswith(saved.golds[index]))
            read.append(spoken)
            invalid += not spoken
        else:
            found = score(text, saved.rows[index], saved)
            right.append(found.correct)
            read.append(found.read)
            invalid += found.outcome == "none"
    return Judged(
        scorer="paper",
        n=n,
        scored=counted,
        right=tuple(right),
        read=tuple(read),
        accuracy=sum(map(bool, right)) / counted,
        weighted_f1=0.0 if "zero_f1" in deviations else None,
        invalid=invalid,
    )


def _first_piece(text: str, index: int, saved: Saved) -> str:
    """Return what stands between the first and the second "Answer:" of the row and its output."""
    sign = "Answer:" if saved.labels else "\nAnswer:"
    row = saved.rows[index]
    asked = "\n".join(str(row[name]) for name in ("text", "question") if row.get(name))
    return f"{asked}\nAnswer:{text}".split(sign)[1]
