"""The cover page of a filing: who reports, on which form, for which period."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from .facts import Fact, Filing, Period
from .labels import clean_label


@dataclass(frozen=True, kw_only=True)
class Cover:
    """What ``dei`` facts say about a filing; empty where the filing does not say it.

    Args:
        cik: the company's number, ten digits.
        fiscal_year: the year that the company itself gives to the period.
        period: the period of the document.
    """

    company: str
    cik: str
    ticker: str
    form: str
    fiscal_year: str
    fiscal_period: str
    amendment: bool
    period: Period

    @property
    def annual(self) -> bool:
        """Say whether the document covers a year."""
        return is_year(self.period)


def is_year(period: Period) -> bool:
    """Say whether a period is a fiscal year: 52 or 53 weeks, or a calendar year."""
    return 350 <= period.days <= 380


def read_cover(filing: Filing) -> Cover:
    """Read the cover page. The period is the one that the cover's own facts are tagged with."""
    said: dict[str, Fact] = {}
    for fact in filing.facts:
        if fact.key.concept.prefix != "dei" or not fact.text:
            continue
        earlier = said.get(fact.key.concept.name)
        if earlier is None or (earlier.key.context.dimensions and not fact.key.context.dimensions):
            said[fact.key.concept.name] = fact

    def text(name: str) -> str:
        return clean_label(said[name].text or "") if name in said else ""

    entities = Counter(fact.key.context.entity for fact in filing.facts)
    entity = text("EntityCentralIndexKey") or (entities.most_common(1)[0][0] if entities else "")
    cik = entity.zfill(10) if entity.isdigit() else entity
    return Cover(
        company=text("EntityRegistrantName") or f"the company with CIK {cik}",
        cik=cik,
        ticker=text("TradingSymbol"),
        form=text("DocumentType"),
        fiscal_year=_year(text("DocumentFiscalYearFocus")),
        fiscal_period=text("DocumentFiscalPeriodFocus"),
        amendment=text("AmendmentFlag").lower() in ("true", "1", "yes"),
        period=_period(filing, said),
    )


def _year(text: str) -> str:
    return text if len(text) == 4 and text.isdigit() else ""


def _period(filing: Filing, said: dict[str, Fact]) -> Period:
    for name in ("DocumentType", "DocumentPeriodEndDate", "EntityRegistrantName"):
        if name in said and said[name].key.context.period.start is not None:
            return said[name].key.context.period
    used = Counter(
        fact.key.context.period for fact in filing.facts if fact.key.context.period.start
    )
    if not used:
        return Period(None)
    return max(used, key=lambda period: (used[period], str(period.end), str(period)))
