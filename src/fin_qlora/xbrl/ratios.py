"""Financial ratios: how each is built from operands, and how its result is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..tasks.answers import ResultForm


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A ratio.

    Args:
        expression: ``{OI} / {REV}``; ``_prev`` marks the day or year before the period.
        words: the definition, with the operand's own words in the same places.
        forms: how a result may be asked for; one is chosen for each question.
        decimals: the decimals that a result is rounded to, for each form.
        annual: asked for years only.
        positive: operands that must be above zero for the ratio to mean something.
    """

    name: str
    title: str
    expression: str
    words: str
    forms: tuple[ResultForm, ...] = ("fraction",)
    annual: bool = False
    positive: tuple[str, ...] = ()


DECIMALS: Final[Mapping[ResultForm, int]] = {
    "fraction": 4,
    "percent": 2,
    "times": 2,
    "days": 1,
    "amount": 0,
}


_SHARE: Final[tuple[ResultForm, ...]] = ("percent", "fraction")
_AVERAGE = "the average of {0} at the start and at the end of the period"


def _ratio(
    name: str,
    expression: str,
    words: str,
    *,
    title: str = "",
    forms: tuple[ResultForm, ...] = ("fraction",),
    annual: bool = False,
    positive: tuple[str, ...] = (),
) -> Ratio:
    return Ratio(
        name=name,
        title=title or name.replace("_", " "),
        expression=expression,
        words=words,
        forms=forms,
        annual=annual,
        positive=positive,
    )


RATIOS: Final = (
    _ratio("gross_margin", "{GP} / {REV}", "{GP} divided by {REV}", forms=_SHARE),
    _ratio(
        "gross_margin_from_cost",
        "({REV} - {COGS}) / {REV}",
        "{REV} less {COGS}, divided by {REV}",
        title="gross margin",
        forms=_SHARE,
    ),
    _ratio("operating_margin", "{OI} / {REV}", "{OI} divided by {REV}", forms=_SHARE),
    _ratio("net_margin", "{NI} / {REV}", "{NI} divided by {REV}", forms=_SHARE),
    _ratio(
        "return_on_assets",
        "{NI} / (({TA} + {TA_prev}) / 2)",
        "{NI} divided by " + _AVERAGE.format("{TA}"),
        forms=_SHARE,
        annual=True,
    ),
    _ratio(
        "return_on_equity",
        "{NI} / (({EQ} + {EQ_prev}) / 2)",
        "{NI} divided by " + _AVERAGE.format("{EQ}"),
        forms=_SHARE,
        annual=True,
    ),
    _ratio(
        "return_on_capital_employed",
        "{OI} / ({TA} - {CL})",
        "{OI} divided by {TA} less {CL}",
        forms=_SHARE,
        annual=True,
    ),
    _ratio("current_ratio", "{CA} / {CL}", "{CA} divided by {CL}", forms=("times",)),
    _ratio(
        "quick_ratio",
        "({CA} - {INV}) / {CL}",
        "{CA} less {INV}, divided by {CL}",
        forms=("times",),
    ),
    _ratio("cash_ratio", "{CASH} / {CL}", "{CASH} divided by {CL}", forms=("times",)),
    _ratio(
        "cash_and_investments_ratio",
        "({CASH} + {STI}) / {CL}",
        "{CASH} plus {STI}, divided by {CL}",
        forms=("times",),
    ),
    _ratio("working_capital", "{CA} - {CL}", "{CA} less {CL}", forms=("amount",)),
    _ratio("debt_to_equity", "{TL} / {EQ}", "{TL} divided by {EQ}", forms=("times",)),
    _ratio("long_term_debt_to_assets", "{LTD} / {TA}", "{LTD} divided by {TA}", forms=_SHARE),
    _ratio("equity_multiplier", "{TA} / {EQ}", "{TA} divided by {EQ}", forms=("times",)),
    _ratio(
        "asset_turnover",
        "{REV} / (({TA} + {TA_prev}) / 2)",
        "{REV} divided by " + _AVERAGE.format("{TA}"),
        forms=("times",),
        annual=True,
    ),
    _ratio(
        "inventory_turnover",
        "{COGS} / (({INV} + {INV_prev}) / 2)",
        "{COGS} divided by " + _AVERAGE.format("{INV}"),
        forms=("times",),
        annual=True,
    ),
    _ratio(
        "receivable_days",
        "{AR} / {REV} * 365",
        "{AR} divided by {REV}, times 365",
        forms=("days",),
        annual=True,
    ),
    _ratio(
        "payable_days",
        "{AP} / {COGS} * 365",
        "{AP} divided by {COGS}, times 365",
        forms=("days",),
        annual=True,
    ),
    _ratio(
        "interest_coverage",
        "{OI} / {INT}",
        "{OI} divided by {INT}",
        forms=("times",),
        positive=("INT",),
    ),
    _ratio(
        "effective_tax_rate",
        "{TAX} / {PBT}",
        "{TAX} divided by {PBT}",
        forms=_SHARE,
        positive=("PBT",),
    ),
    _ratio("free_cash_flow", "{CFO} - {CAPEX}", "{CFO} less {CAPEX}", forms=("amount",)),
    _ratio(
        "free_cash_flow_margin",
        "({CFO} - {CAPEX}) / {REV}",
        "{CFO} less {CAPEX}, divided by {REV}",
        forms=_SHARE,
    ),
    _ratio("cash_conversion", "{CFO} / {NI}", "{CFO} divided by {NI}", forms=("times",)),
    _ratio(
        "dividend_payout", "{DIV} / {NI}", "{DIV} divided by {NI}", forms=_SHARE, positive=("NI",)
    ),
    _ratio("ebitda", "{OI} + {DA}", "{OI} plus {DA}", title="EBITDA", forms=("amount",)),
    _ratio(
        "ebitda_margin",
        "({OI} + {DA}) / {REV}",
        "{OI} plus {DA}, divided by {REV}",
        title="EBITDA margin",
        forms=_SHARE,
    ),
    _ratio(
        "revenue_growth",
        "{REV} / {REV_prev} - 1",
        "{REV} divided by the same of the year before, less one",
        forms=_SHARE,
        annual=True,
    ),
    _ratio("research_intensity", "{RD} / {REV}", "{RD} divided by {REV}", forms=_SHARE),
    _ratio("overhead_ratio", "{SGA} / {REV}", "{SGA} divided by {REV}", forms=_SHARE),
    _ratio("capital_intensity", "{CAPEX} / {REV}", "{CAPEX} divided by {REV}", forms=_SHARE),
    _ratio(
        "fixed_asset_turnover",
        "{REV} / {PPE}",
        "{REV} divided by {PPE}",
        forms=("times",),
        annual=True,
    ),
    _ratio("goodwill_share", "{GW} / {TA}", "{GW} divided by {TA}", forms=_SHARE),
    _ratio(
        "diluted_earnings_per_share",
        "{NI} / {SH}",
        "{NI} divided by {SH}",
        forms=("times",),
    ),
)
