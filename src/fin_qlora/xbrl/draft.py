"""A question before its segment exists: what is asked, what the answer is, which facts it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .facts import Key
from .reconcile import Known
from .settings import BUILDER_VERSION, BuildSettings, TaskName
from .wording import Wording


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A question to be given a segment.

    Args:
        key: what the question is about, unique within filing and task.
        targets: the facts that the answer needs; the first gives the provenance of the row.
        answer: empty where it depends on the segment (the id of a context).
        description: (text, role) that the question uses for the concept.
        extra: further facts about the question, for its record.
        swaps: other right answers, each with the fact that must be shown for it to be one.
    """

    task: TaskName
    key: str
    wording: Wording
    targets: tuple[Known, ...]
    answer: str
    alternatives: tuple[str, ...] = ()
    description: tuple[str, str] = ("", "")
    extra: Mapping[str, Any] = field(default_factory=dict)
    swaps: tuple[tuple[str, Key], ...] = ()

    def identifier(self, identity: str, settings: BuildSettings) -> str:
        """Return the row's id: 16 hexadecimal digits over all that makes the question."""
        parts = (
            BUILDER_VERSION,
            self.task,
            identity,
            self.key,
            self.wording.template,
            settings.mode,
            settings.facts,
            settings.seed,
        )
        return hashlib.sha256("|".join(map(str, parts)).encode("utf-8")).hexdigest()[:16]


def choice(*parts: object) -> int:
    """Return a large whole number that follows from ``parts`` and from nothing else."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode("utf-8")).digest()[:8])
