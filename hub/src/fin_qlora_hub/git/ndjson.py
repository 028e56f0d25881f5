"""The body of a commit, read as it arrives: files go to disk, only their names stay in memory.

A commit is newline-delimited JSON. A line such as

    {"key": "file", "value": {"content": "<base64>", "path": "a", "encoding": "base64"}}

may be hundreds of megabytes long, nearly all of it one string. The reader follows the JSON just
closely enough to know that string when it begins, decodes it piece by piece into the blob store,
and keeps the rest of the line, with an empty string in its place, for the ordinary JSON parser.
"""

import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fin_qlora_hub.errors import BadRequestError, TooLargeError
from fin_qlora_hub.stores.blobs import BlobWriter, StagedBlob

_OUTSIDE = re.compile(rb'["{}\[\]:,\n]')
_INSIDE = re.compile(rb'["\\\n]')
_CONTENT_END = re.compile(rb'["\n]')
_VALUE_DEPTH = 2


@dataclass(frozen=True)
class Line:
    """One parsed line; `blob` holds the decoded `content` of its value, if it had one."""

    number: int
    key: str
    value: dict[str, Any]
    blob: StagedBlob | None


class _Base64Decoder:
    """Strict base64 in pieces of any length."""

    def __init__(self, writer: BlobWriter, *, line: int) -> None:
        self.writer = writer
        self._line = line
        self._rest = b""
        self._padded = False

    def feed(self, data: bytes) -> None:
        data = self._rest + data
        # JSON may write a slash as "\/"; its two halves can arrive apart.
        held = 1 if data.endswith(b"\\") else 0
        text = data[: len(data) - held].replace(b"\\/", b"/")
        whole = len(text) - len(text) % 4
        self._decode(text[:whole])
        self._rest = text[whole:] + data[len(data) - held :]

    def finish(self) -> StagedBlob:
        if self._rest:
            raise self._error()
        return self.writer.finish()

    def _decode(self, text: bytes) -> None:
        if not text:
            return
        if self._padded:
            raise self._error()
        self._padded = text.endswith(b"=")
        try:
            decoded = binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            raise self._error() from None
        self.writer.write(decoded)

    def _error(self) -> BadRequestError:
        return BadRequestError(
            f"Line {self._line} of the commit: 'content' is not valid base64. Nothing was changed."
        )


class CommitReader:
    """Feed it the body in chunks; it returns the lines that each chunk completed.

    Until `finish` or `discard` it owns the file that it is writing; the blobs of the lines that
    it returned belong to the caller.
    """

    def __init__(
        self, open_writer: Callable[[], BlobWriter], *, max_line_bytes: int, max_lines: int
    ) -> None:
        self._open_writer = open_writer
        self._max_line_bytes = max_line_bytes
        self._max_lines = max_lines
        self._number = 1
        self._decoder: _Base64Decoder | None = None
        self._state: Callable[[bytes, int], int] = self._outside
        self._start_line()

    def feed(self, chunk: bytes) -> list[Line]:
        """Take the next bytes; raises BadRequestError, TooLargeError or StorageFullError."""
        self._lines: list[Line] = []
        position = 0
        try:
            while position < len(chunk):
                position = self._state(chunk, position)
        except BaseException:
            for line in self._lines:
                if line.blob is not None:
                    line.blob.discard()
            raise
        return self._lines

    def finish(self) -> list[Line]:
        """Say that the body has ended; a last line without a line break is complete too."""
        if self._state != self._outside or self._depth:
            raise self._error("it ends too early; send it again")
        return self.feed(b"\n")

    def discard(self) -> None:
        """Forget whatever was received and not returned; harmless after `finish`."""
        if self._decoder is not None:
            self._decoder.writer.discard()
        if self._blob is not None:
            self._blob.discard()

    def _start_line(self) -> None:
        self._skeleton = bytearray()
        self._depth = 0
        self._key = b""
        self._string = bytearray()
        self._expects_key = False
        self._blob: StagedBlob | None = None

    def _outside(self, chunk: bytes, position: int) -> int:
        found = _OUTSIDE.search(chunk, position)
        if found is None:
            self._keep(chunk[position:])
            return len(chunk)
        self._keep(chunk[position : found.end()])
        mark = found[0]
        if mark == b'"':
            opens_content = (
                self._depth == _VALUE_DEPTH and not self._expects_key and self._key == b"content"
            )
            if opens_content:
                self._begin_content()
            else:
                self._string.clear()
                self._state = self._inside
        elif mark in b"{[":
            self._depth += 1
            self._expects_key = mark == b"{"
            self._key = b"" if self._depth <= _VALUE_DEPTH else self._key
        elif mark in b"}]":
            self._depth -= 1
        elif mark == b",":
            self._expects_key = True
        elif mark == b":":
            self._expects_key = False
        else:
            self._end_line()
        return found.end()

    def _inside(self, chunk: bytes, position: int) -> int:
        found = _INSIDE.search(chunk, position)
        end = len(chunk) if found is None else found.end()
        self._keep(chunk[position:end])
        self._string += chunk[position:end]
        if found is not None:
            if found[0] == b"\\":
                self._state = self._escaped
            elif found[0] == b"\n":
                raise self._error("a string holds a line break")
            else:
                if self._expects_key and self._depth == _VALUE_DEPTH:
                    self._key = bytes(self._string[:-1])
                self._state = self._outside
        return end

    def _escaped(self, chunk: bytes, position: int) -> int:
        self._keep(chunk[position : position + 1])
        self._string += chunk[position : position + 1]
        self._state = self._inside
        return position + 1

    def _begin_content(self) -> None:
        if self._blob is not None:
            raise self._error("it has 'content' twice")
        self._decoder = _Base64Decoder(self._open_writer(), line=self._number)
        self._state = self._content

    def _content(self, chunk: bytes, position: int) -> int:
        assert self._decoder is not None
        found = _CONTENT_END.search(chunk, position)
        if found is None:
            self._decoder.feed(chunk[position:])
            return len(chunk)
        if found[0] == b"\n":
            raise self._error("'content' holds a line break")
        self._decoder.feed(chunk[position : found.start()])
        self._blob = self._decoder.finish()
        self._decoder = None
        self._keep(b'"')
        self._state = self._outside
        return found.end()

    def _keep(self, data: bytes) -> None:
        self._skeleton += data
        if len(self._skeleton) > self._max_line_bytes:
            raise TooLargeError(
                f"Line {self._number} of the commit has more than {self._max_line_bytes:,} bytes "
                "besides its content: shorten the description."
            )

    def _end_line(self) -> None:
        if self._skeleton.strip():
            self._lines.append(self._parse())
        self._number += 1
        if self._number > self._max_lines + 1:
            raise TooLargeError(
                f"The commit has more than {self._max_lines:,} lines: send it in parts."
            )
        self._start_line()

    def _parse(self) -> Line:
        try:
            line = json.loads(self._skeleton)
            key, value = line["key"], line["value"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._error('it is not of the form {"key": ..., "value": {...}}') from None
        if not isinstance(key, str) or not isinstance(value, dict):
            raise self._error("'key' must be a string and 'value' an object")
        # Anything else under this name slipped past the decoder, for example as an escaped key.
        if value.pop("content", "") != "":
            raise self._error("'content' must be a plain base64 string")
        return Line(self._number, key, value, self._blob)

    def _error(self, reason: str) -> BadRequestError:
        return BadRequestError(f"Line {self._number} of the commit cannot be read: {reason}.")
