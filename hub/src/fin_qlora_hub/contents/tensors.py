"""What the head of a safetensors file says: names, shapes and types, without the tensors."""

import json
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from fin_qlora_hub.contents.storage import Source
from fin_qlora_hub.errors import BadRequestError

MAX_HEADER_BYTES = 25 * 1024 * 1024
MAX_INDEX_BYTES = 25 * 1024 * 1024
# What every reader of JSON takes for a whole number.
_MAX_PARAMETERS = 2**53 - 1
_TYPE = re.compile(r"[A-Z0-9_]{1,16}")
_LENGTH = struct.Struct("<Q")


def read_header(source: Source, *, path: str, limit: int = MAX_HEADER_BYTES) -> dict[str, Any]:
    """Return the header of a safetensors file; raises BadRequestError where it is none."""
    (length,) = _LENGTH.unpack(_read(source, 0, _LENGTH.size, path=path))
    if length > limit:
        raise _malformed(path, f"its header has {length:,} bytes")
    return _parse(_read(source, _LENGTH.size, length, path=path), path=path)


def count_parameters(header: Mapping[str, Any]) -> dict[str, int]:
    """Return how many numbers of each type a header describes; empty where it cannot be right."""
    counts: dict[str, int] = {}
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        kind = tensor.get("dtype") if isinstance(tensor, dict) else None
        if not isinstance(kind, str) or not _TYPE.fullmatch(kind) or not isinstance(shape, list):
            return {}
        number = 1
        for length in shape:
            if type(length) is not int or not 0 <= length <= _MAX_PARAMETERS:
                return {}
            number = min(number * length, _MAX_PARAMETERS + 1)
        counts[kind] = counts.get(kind, 0) + number
    return counts if sum(counts.values()) <= _MAX_PARAMETERS else {}


def read_index(source: Source, *, path: str) -> tuple[dict[str, Any], list[str]]:
    """Return the metadata of an index file and the files that it names, each once, in order."""
    if source.size > MAX_INDEX_BYTES:
        raise _malformed(path, f"it has {source.size:,} bytes")
    index = _parse(_read(source, 0, source.size, path=path), path=path)
    places = index.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(p, str) for p in places.values()):
        raise _malformed(path, "it has no 'weight_map' of file names")
    return index.get("metadata") or {}, list(dict.fromkeys(places.values()))


def _read(source: Source, start: int, length: int, *, path: str) -> bytes:
    if start + length > source.size:
        raise _malformed(path, "it ends too early")
    pieces: Iterator[bytes] = source.read(start=start, length=length) if length else iter(())
    return b"".join(pieces)


def _parse(data: bytes, *, path: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise _malformed(path, "it holds no JSON where it should") from None
    if not isinstance(found, dict):
        raise _malformed(path, "it holds no JSON object where it should")
    return found


def _malformed(path: str, reason: str) -> BadRequestError:
    return BadRequestError(f"{path} is no safetensors file or index that can be read: {reason}.")
