"""The part of a file that a request asks for."""

import re

from starlette.requests import Request

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_MAX_DIGITS = 18


class UnsatisfiableRangeError(ValueError):
    """The asked part lies outside the file."""


def asked_range(request: Request, *, size: int, etag: str = "") -> tuple[int, int] | None:
    """Return the asked part as start and end, or None for the whole file.

    Several parts at once, and a part of a version that is gone, are answered by the whole file,
    as HTTP allows. Raises UnsatisfiableRangeError.
    """
    asked = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if asked is None or request.headers.get("if-range", etag) != etag:
        return None
    first, last = asked.groups()
    if first:
        start, end = _offset(first), min(_offset(last) + 1 if last else size, size)
        if last and _offset(last) < start:
            return None
    elif last:
        start, end = max(size - _offset(last), 0), size
    else:
        return None
    if start >= end:
        raise UnsatisfiableRangeError
    return start, end


def _offset(digits: str) -> int:
    """Read a number of any length; beyond every file's size, one is as good as another."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS
