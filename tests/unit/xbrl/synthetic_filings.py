"""Filings of made-up companies, small, with all that a builder needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

GAAP = "http://fasb.org/us-gaap/2023"
DEI = "http://xbrl.sec.gov/dei/2023"
SRT = "http://fasb.org/srt/2023"
NAMESPACES = {
    "xbrli": "http://www.xbrl.org/2003/instance",
    "link": "http://www.xbrl.org/2003/linkbase",
    "xlink": "http://www.w3.org/1999/xlink",
    "xbrldi": "http://xbrl.org/2006/xbrldi",
    "xsi": "http://www.w3.org/2001/XMLSchema-instance",
    "iso4217": "http://www.xbrl.org/2003/iso4217",
    "us-gaap": GAAP,
    "dei": DEI,
    "srt": SRT,
}
INLINE = {
    "ix": "http://www.xbrl.org/2013/inlineXBRL",
    "ixt": "http://www.xbrl.org/inlineXBRL/transformation/2020-02-12",
    "ixt-sec": "http://www.sec.gov/inlineXBRL/transformation/2015-08-31",
}
UNITS = {
    "usd": "<xbrli:measure>iso4217:USD</xbrli:measure>",
    "shares": "<xbrli:measure>xbrli:shares</xbrli:measure>",
    "pure": "<xbrli:measure>xbrli:pure</xbrli:measure>",
    "usdPerShare": (
        "<xbrli:divide><xbrli:unitNumerator><xbrli:measure>iso4217:USD</xbrli:measure>"
        "</xbrli:unitNumerator><xbrli:unitDenominator><xbrli:measure>xbrli:shares</xbrli:measure>"
        "</xbrli:unitDenominator></xbrli:divide>"
    ),
}


@dataclass(frozen=True)
class Company:
    """A company whose numbers follow from ``number``; no two have the same."""

    number: int

    @property
    def cik(self) -> str:
        return f"{1000 + 37 * self.number:010d}"

    @property
    def name(self) -> str:
        return f"Invented Holdings {chr(65 + self.number)} Inc."

    @property
    def stem(self) -> str:
        return f"inv{self.number}-20231231"

    def amount(self, concept: str, year: int) -> int:
        return (len(concept) * 37 + year % 100 * 11 + self.number * 1009) * 1_000_000


FLOWS = (
    "Revenues",
    "CostOfRevenue",
    "GrossProfit",
    "OperatingIncomeLoss",
    "NetIncomeLoss",
    "IncomeTaxExpenseBenefit",
    "NetCashProvidedByUsedInOperatingActivities",
    "PaymentsToAcquirePropertyPlantAndEquipment",
    "DepreciationDepletionAndAmortization",
    "SellingGeneralAndAdministrativeExpense",
    "ResearchAndDevelopmentExpense",
)
STOCKS = (
    "Assets",
    "AssetsCurrent",
    "Liabilities",
    "LiabilitiesCurrent",
    "StockholdersEquity",
    "InventoryNet",
    "Goodwill",
    "CashAndCashEquivalentsAtCarryingValue",
    "AccountsReceivableNetCurrent",
    "LongTermDebtNoncurrent",
)


def context(
    identifier: str,
    *,
    cik: str = "0000001000",
    start: str = "",
    end: str = "2023-12-31",
    members: str = "",
    scenario: str = "",
) -> str:
    period = (
        f"<xbrli:startDate>{start}</xbrli:startDate><xbrli:endDate>{end}</xbrli:endDate>"
        if start
        else f"<xbrli:instant>{end}</xbrli:instant>"
    )
    segment = f"<xbrli:segment>{members}</xbrli:segment>" if members else ""
    other = f"<xbrli:scenario>{scenario}</xbrli:scenario>" if scenario else ""
    return (
        f'<xbrli:context id="{identifier}"><xbrli:entity>'
        f'<xbrli:identifier scheme="http://www.sec.gov/CIK">{cik}</xbrli:identifier>{segment}'
        f"</xbrli:entity><xbrli:period>{period}</xbrli:period>{other}</xbrli:context>"
    )


def member(axis: str, name: str) -> str:
    return f'<xbrldi:explicitMember dimension="{axis}">{name}</xbrldi:explicitMember>'


def typed(axis: str, text: str) -> str:
    return (
        f'<xbrldi:typedMember dimension="{axis}"><inv:line>{text}</inv:line></xbrldi:typedMember>'
    )


def units(names: Iterable[str] = ("usd", "shares", "pure", "usdPerShare")) -> str:
    return "".join(f'<xbrli:unit id="{name}">{UNITS[name]}</xbrli:unit>' for name in names)


def _declared(namespaces: dict[str, str]) -> str:
    return " ".join(f'xmlns:{prefix}="{name}"' for prefix, name in namespaces.items())


def instance(body: str, *, schema: str = "inv-20231231.xsd", **namespaces: str) -> bytes:
    """A classic instance; ``us_gaap=…`` overrides the namespace of a prefix."""
    names = {**NAMESPACES, "inv": "http://invented.example/20231231"}
    names |= {prefix.replace("_", "-"): name for prefix, name in namespaces.items()}
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<xbrli:xbrl {_declared(names)}>'
        f'<link:schemaRef xlink:type="simple" xlink:href="{schema}"/>{body}</xbrli:xbrl>'
    ).encode()


def inline(body: str, *, header: str = "", schema: str = "inv-20231231.xsd") -> bytes:
    """An inline document; ``header`` holds contexts and units, hidden facts stand in ``body``."""
    names = {**NAMESPACES, **INLINE, "inv": "http://invented.example/20231231"}
    references = (
        f'<ix:references><link:schemaRef xlink:type="simple" xlink:href="{schema}"/>'
        "</ix:references>"
        if schema
        else ""
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml" '
        f'{_declared(names)}><body><div style="display:none"><ix:header>{references}'
        f"<ix:resources>{header}</ix:resources></ix:header></div>{body}</body></html>"
    ).encode()


def number(
    name: str,
    text: str,
    *,
    context: str = "now",
    unit: str = "usd",
    form: str = "ixt:num-dot-decimal",
    **attributes: str,
) -> str:
    extra = "".join(f' {key.replace("_", ":")}="{value}"' for key, value in attributes.items())
    form = f' format="{form}"' if form else ""
    return (
        f'<ix:nonFraction name="{name}" contextRef="{context}" unitRef="{unit}"{form}{extra}>'
        f"{text}</ix:nonFraction>"
    )


def said(name: str, text: str, *, context: str = "year", **attributes: str) -> str:
    extra = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<ix:nonNumeric name="{name}" contextRef="{context}"{extra}>{text}</ix:nonNumeric>'


def _contexts(company: Company) -> str:
    axis = "us-gaap:StatementBusinessSegmentsAxis"
    made = [
        context("year", cik=company.cik, start="2023-01-01"),
        context("before", cik=company.cik, start="2022-01-01", end="2022-12-31"),
        context("now", cik=company.cik),
        context("then", cik=company.cik, end="2022-12-31"),
        *(
            context(
                f"year{part}",
                cik=company.cik,
                start="2023-01-01",
                members=member(axis, f"inv:{part}Member"),
            )
            for part in ("North", "South")
        ),
    ]
    return "".join(made)


def _facts(company: Company) -> Iterable[tuple[str, str, int]]:
    """Yield (concept, context id, amount in full units)."""
    for names, now, then in ((FLOWS, "year", "before"), (STOCKS, "now", "then")):
        for name in names:
            yield name, now, company.amount(name, 2023)
            yield name, then, company.amount(name, 2022)
    for part, share in (("North", 3), ("South", 5)):
        yield "Revenues", f"year{part}", company.amount("Revenues", 2023) // share


COVER = ("EntityRegistrantName", "EntityCentralIndexKey", "DocumentType", "DocumentFiscalYearFocus")


def _cover(company: Company) -> dict[str, str]:
    return dict(zip(COVER, (company.name, company.cik, "10-K", "2023"), strict=True))


def write_classic(folder: Path, company: Company) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    facts = "".join(
        f'<us-gaap:{name} contextRef="{where}" unitRef="usd" decimals="-6">{amount}'
        f"</us-gaap:{name}>"
        for name, where, amount in _facts(company)
    )
    cover = "".join(
        f'<dei:{name} contextRef="year">{text}</dei:{name}>'
        for name, text in _cover(company).items()
    )
    body = _contexts(company) + units() + cover + facts
    file = folder / f"{company.stem}.xml"
    file.write_bytes(instance(body, schema=f"{company.stem}.xsd"))
    return file


def write_inline(folder: Path, company: Company) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(
        f"<tr><td>{name}</td><td>"
        + number(
            f"us-gaap:{name}",
            f"{amount // 1_000_000:,}",
            context=where,
            decimals="-6",
            scale="6",
            id=f"f{position}",
        )
        + "</td></tr>"
        for position, (name, where, amount) in enumerate(_facts(company))
    )
    cover = "".join(said(f"dei:{name}", text) for name, text in _cover(company).items())
    file = folder / f"{company.stem}.htm"
    file.write_bytes(
        inline(
            f"<p>{cover}</p><table>{rows}</table>",
            header=_contexts(company) + units(),
            schema=f"{company.stem}.xsd",
        )
    )
    return file


def write_labels(folder: Path, company: Company) -> Path:
    texts = {
        name: f"The {name[:4].lower()} item number {n}" for n, name in enumerate(FLOWS + STOCKS)
    }
    file = folder / f"{company.stem}_lab.xml"
    file.write_bytes(labels(texts))
    return file


def labels(texts: dict[str, str], *, role: str = "label") -> bytes:
    """A label linkbase for us-gaap names."""
    lines = "".join(
        f'<link:loc xlink:type="locator" xlink:href="http://x/e.xsd#us-gaap_{name}" '
        f'xlink:label="l{n}"/>'
        f'<link:label xlink:type="resource" xlink:label="t{n}" xml:lang="en-US" '
        f'xlink:role="http://www.xbrl.org/2003/role/{role}">{text}</link:label>'
        f'<link:labelArc xlink:type="arc" xlink:from="l{n}" xlink:to="t{n}"/>'
        for n, (name, text) in enumerate(texts.items())
    )
    return (
        f"<?xml version='1.0'?><link:linkbase {_declared(NAMESPACES)}>"
        f"<link:labelLink>{lines}</link:labelLink></link:linkbase>"
    ).encode()
