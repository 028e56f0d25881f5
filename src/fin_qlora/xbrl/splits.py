"""Which company, or which filing in time, belongs to which split."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import DataError
from .settings import BUILDER_VERSION, BuildSettings, SplitName


@dataclass(frozen=True, kw_only=True)
class SplitKey:
    """What a split is decided by.

    Args:
        identity: the filing.
        group: the company, as a CIK.
        date: the day it was filed, or the end of its period, as ``YYYY-MM-DD``.
        wanted: the split that the list of filings asks for, or None.
    """

    identity: str
    group: str
    date: str
    wanted: SplitName | None = None


def decide(filings: Sequence[SplitKey], settings: BuildSettings) -> Mapping[str, SplitName]:
    """Return filing -> split.

    By company: a company falls to test or validation by a hash of its number, so that one filing
    more moves no other; where no company falls to test, the one that came closest goes there.
    In time: the latest filings are the test. Both: a filing is kept out of train when its company
    is a test company or when it is late, and is a test only when it is both.

    Raises:
        DataError: the list of filings puts one company into two splits.
    """
    by_company = _companies(filings, settings)
    if settings.split_by == "company":
        return {filing.identity: by_company[filing.group] for filing in filings}
    in_time = _times(filings, settings)
    if settings.split_by == "time":
        return in_time
    both: dict[str, SplitName] = {}
    for filing in filings:
        company, time = by_company[filing.group], in_time[filing.identity]
        if company == time:
            both[filing.identity] = company
    return both


def _companies(filings: Sequence[SplitKey], settings: BuildSettings) -> Mapping[str, SplitName]:
    groups = sorted({filing.group for filing in filings})
    position = {group: _position(group, settings.salt) for group in groups}
    listed = {cik.zfill(10) if cik.isdigit() else cik for cik in settings.test_companies}
    wanted = _wanted(filings)
    splits: dict[str, SplitName] = {}
    for group in groups:
        if group in listed:
            splits[group] = "test"
        elif group in wanted:
            splits[group] = wanted[group]
        elif not listed and position[group] < settings.test_share:
            splits[group] = "test"
        elif position[group] >= 1 - settings.validation_share:
            splits[group] = "validation"
        else:
            splits[group] = "train"
    free = [group for group in groups if group not in wanted and group not in listed]
    if len(groups) >= 3 and settings.test_share and "test" not in splits.values():
        splits[min(free, key=lambda group: position[group])] = "test"
    if len(groups) >= 3 and settings.validation_share and "validation" not in splits.values():
        rest = [group for group in free if splits[group] == "train"]
        if len(rest) > 1:
            splits[max(rest, key=lambda group: position[group])] = "validation"
    return splits


def _wanted(filings: Sequence[SplitKey]) -> Mapping[str, SplitName]:
    wanted: dict[str, SplitName] = {}
    for filing in filings:
        if not filing.wanted:
            continue
        split = filing.wanted
        if wanted.setdefault(filing.group, split) != split:
            raise DataError(
                f"The list of filings puts company {filing.group} into {wanted[filing.group]} and "
                f"into {split}.",
                fix="Keep all filings of a company in one split.",
            )
    return wanted


def _times(filings: Sequence[SplitKey], settings: BuildSettings) -> Mapping[str, SplitName]:
    ordered = sorted(filings, key=lambda filing: (filing.date, filing.identity))
    tests = math.ceil(len(ordered) * settings.test_share)
    checks = math.ceil(len(ordered) * settings.validation_share)
    first_test, first_check = len(ordered) - tests, len(ordered) - tests - checks
    splits: dict[str, SplitName] = {}
    for number, filing in enumerate(ordered):
        if number >= first_test:
            splits[filing.identity] = "test"
        else:
            splits[filing.identity] = "validation" if number >= first_check else "train"
    return splits


def _position(group: str, salt: str) -> float:
    """Return where a company stands between 0 and 1, by its number alone."""
    digest = hashlib.sha256(f"{BUILDER_VERSION}|split|{salt}|{group}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48
