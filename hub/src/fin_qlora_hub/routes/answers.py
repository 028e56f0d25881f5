"""Answers in JSON, written by a quick encoder."""

from typing import Any

import orjson
from starlette.responses import Response


class Json(Response):
    """An answer whose content may be any plain value, or one that is encoded already."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the content as JSON."""
        return content if isinstance(content, bytes) else orjson.dumps(content)


def array(items: list[bytes]) -> bytes:
    """Return encoded items as one JSON array."""
    return b"[" + b",".join(items) + b"]"
