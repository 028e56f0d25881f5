"""Random texts that tokenizers and layouts find hard."""

from __future__ import annotations

from hypothesis import strategies as st

LABELS = ("negative", "neutral", "positive")

_MARKS = ["\n", "\n\n", "\r\n", " ", "  ", "\t", "\u00a0", "{", "}", "{text}", "%s", "<|", "|>"]
_TERMS = [
    "Answer:",
    "Instruction:",
    "[...]",
    "us-gaap:Assets",
    "1,234.5",
    "é",
    "e\u0301",
    "🙂",
    "株",
]
_PIECES = st.sampled_from([*_MARKS, *_TERMS])
_WORDS = st.text(st.characters(codec="utf-8"), max_size=12)

#: Any text; it may be empty and may not spell a control token (a chance too small to matter).
texts = st.lists(st.one_of(_PIECES, _WORDS), max_size=25).map("".join)
forms = st.sampled_from(["plain", "chat"])
