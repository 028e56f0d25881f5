"""The rules by which text is changed, and the key by which two texts count as the same."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from typing import Final

_BLANKS = re.compile(r"\s+")
_LINK = re.compile(r"https?://\S+")
_NOT_WORDS = re.compile(r"[\W_]+")

#: The characters that UTF-8's continuation bytes become when they are read as Windows-1252.
_CONTINUATION = "".join(
    bytes([byte]).decode("cp1252", errors="ignore") or chr(byte) for byte in range(0x80, 0xC0)
)
_MOJIBAKE = re.compile(f"[\u00c2-\u00f4][{re.escape(_CONTINUATION)}\u0080-\u009f]{{1,3}}")

#: What is counted and left as it is: the loss is in the source, or it is part of the text.
_SEEN: Final = {
    "line break inside the text": re.compile(r"[\r\n]"),
    "replacement character U+FFFD": re.compile("\ufffd"),
    "no-break space U+00A0": re.compile("\u00a0"),
    "double blank": re.compile(r"[^\s] {2,}"),
    "not only ASCII": re.compile(r"[^\x00-\x7f]"),
}


@lru_cache(maxsize=1 << 16)
def normalised(text: str) -> str:
    """Return the text without links, case and blank differences: what counts as the same row."""
    return _BLANKS.sub(" ", _LINK.sub(" ", text)).strip().casefold()


@lru_cache(maxsize=1 << 16)
def loosened(text: str) -> str:
    """Return only the words of the normalised text: what may not stand on two sides of a split."""
    return _NOT_WORDS.sub(" ", normalised(unicodedata.normalize("NFKC", text))).strip()


def repaired(text: str) -> str:
    """Return the text with UTF-8 that was read as Windows-1252 put right (``â€™`` is ``’``)."""
    while (better := _MOJIBAKE.sub(_decoded, text)) != text:
        text = better
    return text


def cleaned(text: str, *, changed: Counter[str]) -> str:
    """Return the text repaired and without blanks at its ends; each change is counted."""
    better = repaired(text)
    if better != text:
        changed["mojibake repaired"] += 1
    stripped = better.strip()
    if stripped != better:
        changed["blanks at the ends cut"] += 1
    return stripped


def count_oddities(text: str, *, seen: Counter[str]) -> None:
    """Count what is odd about a text and is left as it is."""
    for what, pattern in _SEEN.items():
        if pattern.search(text):
            seen[what] += 1


def _decoded(match: re.Match[str]) -> str:
    sequence = match[0]
    try:
        raw = b"".join(bytes([ord(c)]) if ord(c) < 256 else c.encode("cp1252") for c in sequence)
        return raw.decode("utf-8")
    except UnicodeError:
        # a shorter sequence may be one: "Ã©" followed by a quotation mark
        return _decoded_start(sequence)


def _decoded_start(sequence: str) -> str:
    if len(sequence) < 3:
        return sequence
    match = _MOJIBAKE.fullmatch(sequence[:-1])
    return _decoded(match) + sequence[-1] if match else sequence
