"""Answers that are a tag (``us-gaap:AssetsCurrent``), a context id, or "not reported"."""

from __future__ import annotations

import re
from typing import Final

from .outcome import LONGEST, Score, said

#: What a prompt asks for, in words.
TAG_RULE: Final = "Answer with the tag alone: prefix, colon and name."
CONTEXT_RULE: Final = "Answer with the id of the context alone."
#: The answer to a question about a fact that the filing does not report.
NOT_REPORTED: Final = "NOT_REPORTED"

_TAG = re.compile(r"(?<![\w:.-])([A-Za-z][\w-]{0,63}):([A-Za-z_][\w.-]{0,255})(?![\w:])")
_BARE = re.compile(r"[A-Za-z_][\w.-]{0,255}")
_CONTEXT = re.compile(r"(?<![\w-])c-?\d{1,6}(?![\w-])")


def parse_tag(text: str) -> tuple[str | None, str] | None:
    """Return (prefix, name) of the only tag in an answer; the prefix may be missing.

    Returns None where there is no tag, or where there are two different ones.
    """
    text = said(text[:LONGEST]).strip("`'\"")
    found = {(prefix.lower(), name.rstrip(".-")) for prefix, name in _TAG.findall(text)}
    if len(found) == 1:
        return next(iter(found))
    if not found:
        bare = text.rstrip(".").strip()
        if _BARE.fullmatch(bare):
            return None, bare
    return None


def score_tag(text: str, expected: str) -> Score:
    """Score an answer against a tag: the name by case, the prefix without, nothing by halves.

    A name without a prefix counts and is flagged ``prefix_missing``; another prefix is wrong.
    """
    found = parse_tag(text)
    if found is None:
        several = len(set(_TAG.findall(said(text[:LONGEST])))) > 1
        return Score("wrong", None, ("several_tags",)) if several else Score("none")
    prefix, name = found
    wanted_prefix, _, wanted_name = expected.partition(":")
    flags = ("prefix_missing",) if prefix is None else ()
    same = name == wanted_name and prefix in (None, wanted_prefix.lower())
    read = name if prefix is None else f"{prefix}:{name}"
    return Score("exact" if same else "wrong", read, flags)


def score_context(text: str, expected: str) -> Score:
    """Score an answer that names a context, such as ``c3``."""
    found = set(_CONTEXT.findall(said(text[:LONGEST])))
    if len(found) != 1:
        return Score("wrong", None, ("several_contexts",)) if found else Score("none")
    read = found.pop()
    return Score("exact" if read == expected else "wrong", read)


def is_not_reported(text: str) -> bool:
    """Say whether an answer declines: "not reported", in any case and joined by any sign."""
    words = re.findall(r"[a-z]+", said(text[:LONGEST]).lower())
    return words == ["not", "reported"]


def score_not_reported(text: str) -> Score:
    """Score an answer to a question about a fact that is not there."""
    if is_not_reported(text):
        return Score("exact", NOT_REPORTED)
    return Score("wrong" if said(text) else "none", said(text[:LONGEST]) or None)
