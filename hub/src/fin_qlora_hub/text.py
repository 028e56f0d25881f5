"""Text that a client may send to be kept or shown again."""

from typing import Annotated

from pydantic import StringConstraints

# A pattern makes pydantic insist on valid Unicode, so that nothing later fails to write it down.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
