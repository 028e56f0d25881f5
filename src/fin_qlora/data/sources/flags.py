"""Questions with yes or no for an answer, derived from columns of 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...errors import DataError
from ...tasks import HubForm, RawForm, Task
from ..reading import Reading, Records
from .columns import Placed, value_of


def flags(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Ask every question of every record. Dates are left as the text that they are.

    Setting ``exclusive`` names the columns of which at most one should be 1.
    """
    questions: Mapping[str, str] = form.settings["questions"]
    exclusive: tuple[str, ...] = form.settings["exclusive"]
    for file in files:
        for number, record in file:
            place = file.place(number)
            row = {
                name: value_of(record, column, place=place, task=task)
                for name, column in form.columns.items()
            }
            reading.seen[f"sentiment {row['sentiment']}"] += 1
            directions = 0
            for column, question in questions.items():
                flag = value_of(record, column, place=place, task=task).strip()
                if flag not in ("0", "1"):
                    raise DataError(f"{place} has {flag!r} in '{column}'.", fix="Use 0 or 1.")
                reading.seen[f"{column} = 1"] += flag == "1"
                directions += flag == "1" and column in exclusive
                yield place, row | {"question": question, "label": flag}
            reading.seen["more than one price direction"] += directions > 1
            if (directions == 0) != (row["sentiment"] == "none"):
                reading.seen["sentiment that does not follow from the directions"] += 1
