"""From filings to questions: facts, segments, ratios, and the build that writes the rows.

Names are loaded when first used, so that nothing here costs anything before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "build": "builder",
    "BuildReport": "build_report",
    "BuildSettings": "settings",
    "Fact": "facts",
    "Filing": "facts",
    "Limits": "limits",
    "read_filing": "reader",
}

__all__ = ["BuildReport", "BuildSettings", "Fact", "Filing", "Limits", "build", "read_filing"]

if TYPE_CHECKING:
    from .build_report import BuildReport
    from .builder import build
    from .facts import Fact, Filing
    from .limits import Limits
    from .reader import read_filing
    from .settings import BuildSettings


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fin_qlora.xbrl' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
