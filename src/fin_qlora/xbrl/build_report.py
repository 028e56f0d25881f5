"""What a build tells about itself: counts, reasons and shares, the same in every run."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files import sha256_file
from .parts import FilingSummary
from .places import Refusal
from .settings import BUILDER_VERSION, SPLITS, BuildSettings, SplitName

_BUCKETS = (0.25, 0.5, 0.75, 1.0)
_QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """The outcome of a build.

    Args:
        folder: where the rows are.
        rows: rows of each split.
        filings: filings that were read.
        problems: what was refused and why; also each filing whose numbers Arelle reads otherwise.
        details: all of ``report.json``.
    """

    folder: Path
    rows: Mapping[str, int]
    filings: int
    problems: tuple[Refusal, ...]
    details: Mapping[str, Any]

    @property
    def exit_code(self) -> int:
        """Return 0, or 1 where something was refused."""
        return 1 if self.problems else 0


class ReportBuilder:
    """Counts while a build is put together. Its memory grows by filings, not by rows."""

    def __init__(self, settings: BuildSettings, refused: list[Refusal]) -> None:
        self.settings = settings
        self.problems: list[Refusal] = list(refused)
        self.over_the_cap = 0
        self.known_to_train = 0
        self._filings: list[FilingSummary] = []
        self._repeated: list[dict[str, str]] = []
        self._seen: dict[str, str] = {}
        self._identities: set[str] = set()
        self._splits: Mapping[str, SplitName] = {}
        self._rows: Counter[str] = Counter()
        self._tasks: dict[str, Counter[str]] = defaultdict(Counter)
        self._companies: dict[str, Counter[str]] = defaultdict(Counter)
        self._overlap: Counter[str] = Counter()
        self._label_sources: Counter[str] = Counter()
        self._tokens: Counter[int] = Counter()
        self._negatives: Counter[bool] = Counter()
        self._tags: dict[str, Counter[str]] = defaultdict(Counter)

    def refuse(self, refusal: Refusal) -> None:
        """Note what was not read."""
        self.problems.append(refusal)

    def add(self, filing: FilingSummary) -> bool:
        """Note a filing; return False where it is a copy of one that was noted before."""
        earlier = self._seen.get(filing.sameness)
        same = earlier is not None and (
            not filing.accession
            or not earlier.partition("|")[0]
            or earlier.startswith(f"{filing.accession}|")
        )
        if same or filing.identity in self._identities:
            first = (earlier or "|").partition("|")[2]
            self._repeated.append({"place": filing.place, "copy_of": first})
            return False
        self._seen.setdefault(filing.sameness, f"{filing.accession}|{filing.place}")
        self._identities.add(filing.identity)
        check = filing.cross_check
        if check is not None and (check["unexplained"] or check["failed"]):
            reason = check["failed"] or f"{check['unexplained']} numbers differ from Arelle's."
            self.problems.append(Refusal(filing.place, reason))
        self._filings.append(filing)
        return True

    def splits(self, splits: Mapping[str, SplitName]) -> None:
        """Note which split each filing fell to."""
        self._splits = splits

    def most_for_a_concept(self, rows: int) -> int:
        """Return how many training rows may ask about one concept."""
        return max(self.settings.concept_rows, math.ceil(rows * self.settings.concept_share))

    def row(self, split: SplitName, row: Mapping[str, Any]) -> None:
        """Count a row that is written."""
        meta = row["meta"]
        self._rows[split] += 1
        self._tasks[row["task"]][split] += 1
        self._companies[meta["cik"]][split] += 1
        self._tokens[meta["tokens_est"]] += 1
        if meta["label_source"]:
            self._label_sources[meta["label_source"]] += 1
        if meta["lexical_overlap"] is not None and row["task"] == "tag":
            self._overlap[_bucket(meta["lexical_overlap"])] += 1
        if row["task"] in ("tag", "value"):
            self._negatives[meta["n_same_concept"] > 0] += 1
        if row["task"] == "tag":
            self._tags[split][row["answer"]] += 1

    def finish(self, target: Path, folder: Path) -> BuildReport:
        """Return the report; ``folder`` holds the finished rows."""
        rows: dict[str, int] = {split: self._rows[split] for split in SPLITS}
        details = {
            "builder_version": BUILDER_VERSION,
            "settings": self.settings.to_dict(),
            "rows": rows,
            "files": {f"{split}.jsonl": sha256_file(folder / f"{split}.jsonl") for split in SPLITS},
            "tasks": {task: _by_split(counts) for task, counts in sorted(self._tasks.items())},
            "companies": self._company_table(),
            "shared_companies": self._shared_companies(),
            "tag_overlap_with_description": dict(sorted(self._overlap.items())),
            "label_sources": dict(sorted(self._label_sources.items())),
            "rows_with_a_same_concept_negative": {
                "yes": self._negatives[True],
                "no": self._negatives[False],
            },
            "tokens_est": self._quantiles(),
            "test_tags": self._seen_tags(),
            "dropped": self._sum("dropped"),
            "over_the_concept_cap": self.over_the_cap,
            "known_to_train": self.known_to_train,
            "left_out_facts": self._sum("left_out"),
            "rejected_elements": self._sum("rejected"),
            "copies": self._repeated,
            "refused": [asdict(problem) for problem in self.problems],
            "filings": [self._filing(filing) for filing in self._filings],
        }
        return BuildReport(
            folder=target,
            rows=rows,
            filings=len(self._filings),
            problems=tuple(self.problems),
            details=details,
        )

    def _filing(self, filing: FilingSummary) -> dict[str, Any]:
        table = asdict(filing)
        for name in ("keys", "sameness", "split"):
            del table[name]
        return {**table, "split": self._splits.get(filing.identity)}

    def _sum(self, name: str) -> dict[str, int]:
        total: Counter[str] = Counter()
        for filing in self._filings:
            total.update(getattr(filing, name))
        return dict(sorted(total.items()))

    def _company_table(self) -> dict[str, Any]:
        names = {filing.cik: filing.company for filing in self._filings}
        return {
            cik: {"company": names.get(cik, ""), **_by_split(counts)}
            for cik, counts in sorted(self._companies.items())
        }

    def _shared_companies(self) -> int:
        return sum(
            counts["test"] > 0 and counts["train"] + counts["validation"] > 0
            for counts in self._companies.values()
        )

    def _quantiles(self) -> dict[str, int]:
        total = sum(self._tokens.values())
        found: dict[str, int] = {}
        for share in _QUANTILES if total else ():
            passed = 0
            for tokens in sorted(self._tokens):
                passed += self._tokens[tokens]
                if passed >= share * total:
                    found["max" if share == 1 else f"p{share * 100:g}"] = tokens
                    break
        return found

    def _seen_tags(self) -> dict[str, int]:
        """Count test rows whose tag training asks for too, and those whose tag it never does."""
        known = self._tags["train"]
        seen = sum(count for tag, count in self._tags["test"].items() if tag in known)
        return {"seen": seen, "unseen": sum(self._tags["test"].values()) - seen}


def _by_split(counts: Counter[str]) -> dict[str, int]:
    return {split: counts[split] for split in SPLITS}


def _bucket(share: float) -> str:
    low = 0.0
    for high in _BUCKETS:
        if share <= high:
            return f"{low:.2f}-{high:.2f}"
        low = high
    return "over"
