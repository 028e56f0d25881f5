"""Entity mentions of CoNLL files, each asked about once in its sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...tasks import HubForm, RawForm, Task
from ..reading import Reading, Records
from .columns import Placed


def spans(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, type) of the entities in IOB1 or IOB2 tags.

    In IOB1 an entity begins at the first ``I-`` of its type, and ``B-`` is written only where it
    touches one of the same type before it.
    """
    start, kind = 0, ""
    for position, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        ends = bool(kind) and (mark in ("O", "B") or name != kind)
        if ends:
            yield start, position, kind
            kind = ""
        if mark != "O" and not kind:
            start, kind = position, name


def mentions(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Make a row of each mention; the text is the sentence's tokens with blanks between.

    The same words twice in one sentence are one question. Where their types differ there is no
    right answer, and both are left out. Setting ``not_asked`` names types without a question.
    """
    not_asked: tuple[str, ...] = form.settings.get("not_asked", ())
    for file in files:
        for number, record in file:
            text = " ".join(record["tokens"])
            found: dict[str, list[str]] = {}
            for start, end, kind in spans(record["tags"]):
                reading.seen[f"mention {kind}"] += 1
                if kind in not_asked:
                    reading.dropped[f"mention of a type that is not asked for ({kind})"] += 1
                    continue
                found.setdefault(" ".join(record["tokens"][start:end]), []).append(kind)
            for entity, kinds in found.items():
                if len(set(kinds)) > 1:
                    reading.dropped["mention with two types in one sentence"] += len(kinds)
                    continue
                if len(kinds) > 1:
                    reading.dropped["mention repeated in its sentence"] += len(kinds) - 1
                yield (
                    file.place(number),
                    {
                        "text": text,
                        "entity": entity,
                        "document": record["document"],
                        "label": kinds[0],
                    },
                )
