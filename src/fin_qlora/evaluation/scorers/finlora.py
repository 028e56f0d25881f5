"""The rule of the FinLoRA benchmark's own test program, as it stands in its repository (2025).

Written from what that program does: the right answers of the file are its list of labels, and the
label that stands first in an output, whatever its case, is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import EmptyDatasetError, UsageError
from .judged import Judged, Saved
from .paper import weighted_f1


def finlora(saved: Saved) -> Judged:
    """Judge as FinLoRA's test program does.

    Where two labels stand at the same place (15 and 150), the program takes the one that its
    process happens to list first, so that equal outputs score differently from run to run: here the
    shorter one is taken, and ``bounds`` has two accuracies between which every order stays, with
    all such rows wrong and with all of them right. A wrong answer is a class of its own unless its
    text is a label to the letter, so that the F1 sees hardly any false positive. Answers that are
    lists are taken apart: a row of ``right`` says whether all of it is, and ``accuracy`` and
    ``scored`` count the parts.

    Raises:
        EmptyDatasetError: there is no row.
        UsageError: the answers are prose, which the program compares by a language model.
    """
    if not saved.rows:
        raise EmptyDatasetError("There is no row to score.")
    if saved.grammar == "text":
        raise UsageError(
            "FinLoRA's test program compares prose by a language model, which is not done here.",
            fix="Score with --scorer strict.",
        )
    texts = [_last_piece(text) for text in saved.texts]
    rows = [
        _parts(text, gold) if saved.grammar == "list" else [(text, gold)]
        for text, gold in zip(texts, saved.golds, strict=True)
    ]
    golds = [gold for row in rows for _, gold in row]
    labels = sorted({gold.lower() for gold in golds}, key=lambda label: (len(label), label))
    found = [[_first(text.lower(), labels) for text, _ in row] for row in rows]
    hits = [
        [first[:1] == [gold.lower()] for first, (_, gold) in zip(one, row, strict=True)]
        for one, row in zip(found, rows, strict=True)
    ]
    firsts = [first for one in found for first in one]
    must = sum(first == [gold.lower()] for first, gold in zip(firsts, golds, strict=True))
    may = sum(gold.lower() in first for first, gold in zip(firsts, golds, strict=True))
    answers = [
        gold if hit else text
        for one, row in zip(hits, rows, strict=True)
        for hit, (text, gold) in zip(one, row, strict=True)
    ]
    return Judged(
        scorer="finlora",
        n=len(rows),
        scored=len(golds),
        right=tuple(all(one) for one in hits),
        read=tuple(texts),
        accuracy=sum(map(sum, hits)) / len(golds),
        weighted_f1=weighted_f1(golds, answers),
        invalid=sum(not first for first in firsts),
        bounds=(must / len(golds), may / len(golds)),
    )


def _first(text: str, labels: Sequence[str]) -> list[str]:
    """Return the labels that stand first in a text; several where they begin at one place."""
    places = {label: place for label in labels if (place := text.find(label)) >= 0}
    first = min(places.values(), default=-1)
    return [label for label, place in places.items() if place == first]


def _last_piece(text: str) -> str:
    """Return what stands after the last "Answer:"; a model that goes on is judged by its end."""
    return text.rsplit("Answer:", 1)[-1].strip()


def _parts(text: str, gold: str) -> list[tuple[str, str]]:
    """Return answers and right ones of a list; missing ones are empty, further ones are dropped."""
    wanted, given = (
        [one.strip().replace("\n", "") for one in whole.split(",")] for whole in (gold, text)
    )
    given += [""] * (len(wanted) - len(given))
    return list(zip(given, wanted, strict=False))
