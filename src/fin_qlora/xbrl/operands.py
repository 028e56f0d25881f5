"""The operands of financial ratios: the us-gaap tags that may stand for each, by preference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Alias:
    """A us-gaap tag that can stand for an operand, and the words that say exactly what it is.

    ``note`` says where it is not quite what its symbol means; it travels with the question.
    """

    name: str
    words: str
    note: str = ""


@dataclass(frozen=True)
class Symbol:
    """One operand of ratios: an amount over a period or at a day, and its tags by preference."""

    instant: bool
    aliases: tuple[Alias, ...]


def _flow(*aliases: Alias) -> Symbol:
    return Symbol(False, aliases)


def _stock(*aliases: Alias) -> Symbol:
    return Symbol(True, aliases)


_CONTRACTS = "RevenueFromContractWithCustomer"
_BEFORE_TAX = "IncomeLossFromContinuingOperationsBeforeIncomeTaxes"
_WITH_MINORITIES = "IncludingPortionAttributableToNoncontrollingInterest"

SYMBOLS: Final[Mapping[str, Symbol]] = {
    "REV": _flow(
        Alias(
            f"{_CONTRACTS}ExcludingAssessedTax",
            "revenue from contracts with customers excluding assessed tax",
        ),
        Alias("Revenues", "total revenues"),
        Alias("SalesRevenueNet", "net sales"),
        Alias(
            f"{_CONTRACTS}IncludingAssessedTax",
            "revenue from contracts with customers including assessed tax",
        ),
        Alias("RevenuesNetOfInterestExpense", "revenues net of interest expense"),
    ),
    "COGS": _flow(
        Alias("CostOfGoodsAndServicesSold", "cost of goods and services sold"),
        Alias("CostOfRevenue", "cost of revenue"),
        Alias("CostOfGoodsSold", "cost of goods sold"),
        Alias("CostOfSales", "cost of sales"),
    ),
    "GP": _flow(Alias("GrossProfit", "gross profit")),
    "OI": _flow(Alias("OperatingIncomeLoss", "operating income")),
    "NI": _flow(
        Alias("NetIncomeLoss", "net income attributable to the company"),
        Alias(
            "ProfitLoss",
            "net income including noncontrolling interests",
            "includes noncontrolling interests",
        ),
    ),
    "TAX": _flow(Alias("IncomeTaxExpenseBenefit", "income tax expense")),
    "PBT": _flow(
        Alias(
            f"{_BEFORE_TAX}ExtraordinaryItemsNoncontrollingInterest",
            "income from continuing operations before income taxes",
        ),
        Alias(
            f"{_BEFORE_TAX}MinorityInterestAndIncomeLossFromEquityMethodInvestments",
            "income before income taxes, minority interest and equity method investments",
        ),
    ),
    "INT": _flow(
        Alias("InterestExpenseNonoperating", "nonoperating interest expense"),
        Alias("InterestExpense", "interest expense"),
        Alias("InterestExpenseDebt", "interest expense on debt"),
        Alias(
            "InterestIncomeExpenseNonoperatingNet",
            "net nonoperating interest",
            "net of interest income",
        ),
    ),
    "DA": _flow(
        Alias("DepreciationDepletionAndAmortization", "depreciation, depletion and amortization"),
        Alias(
            "DepreciationAmortizationAndAccretionNet", "depreciation, amortization and accretion"
        ),
        Alias("DepreciationAndAmortization", "depreciation and amortization"),
        Alias("Depreciation", "depreciation", "without amortization"),
    ),
    "CFO": _flow(
        Alias("NetCashProvidedByUsedInOperatingActivities", "net cash from operating activities")
    ),
    "CAPEX": _flow(
        Alias(
            "PaymentsToAcquirePropertyPlantAndEquipment",
            "payments for property, plant and equipment",
        ),
        Alias("PaymentsToAcquireProductiveAssets", "payments for productive assets"),
    ),
    "DIV": _flow(
        Alias("PaymentsOfDividends", "dividends paid"),
        Alias("PaymentsOfDividendsCommonStock", "dividends paid on common stock"),
    ),
    "SGA": _flow(
        Alias(
            "SellingGeneralAndAdministrativeExpense",
            "selling, general and administrative expense",
        )
    ),
    "RD": _flow(Alias("ResearchAndDevelopmentExpense", "research and development expense")),
    "SH": _flow(
        Alias(
            "WeightedAverageNumberOfDilutedSharesOutstanding",
            "the weighted average number of diluted shares",
        )
    ),
    "TA": _stock(Alias("Assets", "total assets")),
    "CA": _stock(Alias("AssetsCurrent", "current assets")),
    "TL": _stock(Alias("Liabilities", "total liabilities")),
    "CL": _stock(Alias("LiabilitiesCurrent", "current liabilities")),
    "EQ": _stock(
        Alias("StockholdersEquity", "stockholders' equity"),
        Alias(
            f"StockholdersEquity{_WITH_MINORITIES}",
            "total equity including noncontrolling interests",
            "includes noncontrolling interests",
        ),
    ),
    "CASH": _stock(
        Alias("CashAndCashEquivalentsAtCarryingValue", "cash and cash equivalents"),
        Alias(
            "CashCashEquivalentsRestrictedCashAndRestrictedCashEquivalents",
            "cash, cash equivalents and restricted cash",
            "includes restricted cash",
        ),
    ),
    "STI": _stock(
        Alias("MarketableSecuritiesCurrent", "current marketable securities"),
        Alias("ShortTermInvestments", "short-term investments"),
        Alias(
            "AvailableForSaleSecuritiesDebtSecuritiesCurrent",
            "current available-for-sale debt securities",
        ),
    ),
    "AR": _stock(
        Alias("AccountsReceivableNetCurrent", "net current accounts receivable"),
        Alias("ReceivablesNetCurrent", "net current receivables"),
    ),
    "INV": _stock(Alias("InventoryNet", "net inventory")),
    "AP": _stock(
        Alias("AccountsPayableCurrent", "current accounts payable"),
        Alias("AccountsPayableTradeCurrent", "current trade accounts payable"),
    ),
    "LTD": _stock(
        Alias("LongTermDebtNoncurrent", "noncurrent long-term debt"),
        Alias(
            "LongTermDebt", "long-term debt including its current part", "includes the current part"
        ),
        Alias(
            "LongTermDebtAndCapitalLeaseObligations", "long-term debt and capital lease obligations"
        ),
    ),
    "PPE": _stock(Alias("PropertyPlantAndEquipmentNet", "net property, plant and equipment")),
    "GW": _stock(Alias("Goodwill", "goodwill")),
}
