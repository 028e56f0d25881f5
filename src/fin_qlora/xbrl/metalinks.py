"""``MetaLinks.json``, which EDGAR puts beside a filing: labels and definitions of its concepts."""

from __future__ import annotations

import json
from typing import Any

from ..errors import DataError
from .labels import Labels, clean_label


def read_metalinks(content: bytes, *, name: str) -> Labels:
    """Return concept -> role -> English label. What has another shape is passed over.

    Raises:
        DataError: the file is no JSON.
    """
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        raise DataError(f"{name} is not JSON.") from None
    found: Labels = {}
    for instance in _values(tree, "instance"):
        for identifier, tag in _items(instance, "tag"):
            prefix, line, rest = identifier.partition("_")
            for language, roles in _items(tag, "lang"):
                if line and language.lower().startswith("en"):
                    _take(found.setdefault(f"{prefix}:{rest}", {}), roles)
    return {concept: roles for concept, roles in found.items() if roles}


def _take(own: dict[str, str], said: Any) -> None:
    for role, text in _items(said, "role"):
        if isinstance(text, str) and (clean := clean_label(text)):
            own.setdefault(role, clean)


def _items(tree: Any, name: str) -> list[tuple[str, Any]]:
    below = tree.get(name) if isinstance(tree, dict) else None
    return list(below.items()) if isinstance(below, dict) else []


def _values(tree: Any, name: str) -> list[Any]:
    return [value for _, value in _items(tree, name)]
