"""Text that a client may send to be kept or shown again."""

from typing import Annotated

from pydantic import StringConstraints

# A pattern makes pydantic insist on valid Unicode, so that nothing later fails to write it down.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]

MAX_QUOTED = 120


def shortened(value: str, *, limit: int = MAX_QUOTED) -> str:
    """Return a client's value, never longer than a line."""
    return value if len(value) <= limit else value[:limit] + "…"


def quoted(value: str) -> str:
    """Return a client's value as a message may quote it: escaped, and never longer than a line."""
    return repr(value) if len(value) <= MAX_QUOTED else repr(value[:MAX_QUOTED]) + "…"
