"""Noticing that somebody changed the metadata, at the price of one look at shared memory."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

# A number that stays the same only while nobody has changed anything; None where that is not known.
Watch = Callable[[], int | None]


def watch(place: object) -> Watch:
    """Watch a SQLite file, whoever writes it; of any other database nothing is known."""
    if not isinstance(place, Path):
        return lambda: None
    connection = sqlite3.connect(
        f"{place.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=0,
        check_same_thread=False,
        isolation_level=None,
    )

    def look() -> int | None:
        try:
            (number,) = connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return None
        return int(number)

    return look
