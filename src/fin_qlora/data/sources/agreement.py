"""Financial PhraseBank: four files that nest, one for each level of agreement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...errors import DataError
from ...tasks import HubForm, RawForm, Task
from ..reading import Reading, Records
from .columns import Placed


def agreement(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Make a row of each line of the first file; ``agreement`` is the highest level it is in.

    One pass over all levels, so that one split holds for all of them.
    """
    levels: tuple[int, ...] = form.settings["levels"]
    least = task.option("min_agreement")
    first, *stricter = files
    lines = [(number, (record["text"], record["label"])) for number, record in first]
    here = Counter(key for _, key in lines)
    reached = {levels[0]: here}
    for file in stricter:
        held = Counter((record["text"], record["label"]) for _, record in file)
        if outside := len(held.keys() - here.keys()):
            raise DataError(
                f"{outside} lines of {file.path.name} are not in {first.path.name}.",
                fix="Use the files of one release; they nest.",
            )
        reached[levels[file.position]] = held
    seen: Counter[tuple[str, str]] = Counter()
    for number, key in lines:
        # of a line that stands twice, each copy has the level that as many copies reach
        level = max(level for level, held in reached.items() if held[key] > seen[key])
        seen[key] += 1
        if level < least:
            reading.dropped[f"agreement below {least:g} %"] += 1
            continue
        yield first.place(number), {"text": key[0], "label": key[1], "agreement": str(level)}
