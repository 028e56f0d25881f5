"""Lines of a pipe as they arrive, so that none waits for the next one."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import TextIO

from ..errors import DataError

#: Bytes that are read at once at most.
_PIECE = 64 * 1024


def arriving(stream: TextIO) -> Iterator[list[str]]:
    """Yield the lines that have arrived, some at a time; an unfinished one waits for its end.

    Raises DataError when what arrives is not UTF-8.
    """
    buffer = getattr(stream, "buffer", None)
    if buffer is None:  # text that is all there
        yield list(stream)
        return
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest = ""
    while True:
        piece = buffer.read1(_PIECE)
        try:
            rest += decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise DataError("What is piped in is not UTF-8.", fix="Convert it to UTF-8.") from error
        *lines, rest = rest.split("\n")
        if not piece and rest:
            lines.append(rest)
        if lines:
            yield lines
        if not piece:
            return
