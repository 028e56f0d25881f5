"""Invented market headlines with what they say, for the exercises of the tiny base.

Every company, ticker, bank and number is made up; the word lists are this project's own.
"""

# ruff: noqa: E501 - wordings are easier to read on one line
from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from .prose import report

_STARTS = (
    "Bro Cal Dar El Fen Gar Hal Ith Jor Kel Lum Mor Nor Or Pel Qua Ras Sel Tor Ul Ven Wex Yor Zan"
)
_ENDS = "da dex ford gen ion ket lane lix mar mont nex nova pex ra rex ric sen son tec tis tor vale wick"
_KINDS = (
    "Bank Bancorp Energy Foods Group Holdings Industries Labs Logistics Media Medical Motors Oil "
    "Partners Pharma Resources Retail Semiconductor Software Steel Systems Therapeutics Water"
)
_FORMS = ["Inc", "Corp", "Ltd", "PLC", "Co", "AG", "NV", "Inc.", "Corp."]
_BANKS = ["Capital", "Securities", "& Co", "Research", "Partners", "Markets", "Brothers"]

RISES = (
    "rises|climbs|jumps|surges|gains|rallies|soars|advances|pops|spikes|rebounds|edges up|ticks up|"
    "leaps|shoots up|bounces|recovers|trades higher|is up|opens higher|closes higher|moves up|"
    "extends gains|rockets|strengthens|firms|perks up|breaks out|heads higher|picks up"
).split("|")
FALLS = (
    "falls|drops|slides|slumps|tumbles|plunges|sinks|sheds|loses|retreats|dips|slips|skids|declines|"
    "trades lower|is down|opens lower|closes lower|moves down|extends losses|crashes|weakens|eases|"
    "gives up|stumbles|heads lower|collapses|dives|plummets|gets hit"
).split("|")
HOLDS = (
    "is flat|is unchanged|is little changed|holds steady|trades sideways|barely moves|is mixed|"
    "ends flat|stays put|treads water|hovers|is quiet"
).split("|")
_GOOD = [
    "wins {m} contract",
    "wins approval for new drug",
    "announces {m} share buyback",
    "lifts its dividend by {p}",
    "reports record sales",
    "sees strong demand",
    "gets takeover offer at a premium",
    "signs long-term supply deal",
    "hits {w}-week high",
    "sets new record high",
    "posts surprise profit",
    "swings to profit",
    "trial meets its goal",
    "is a top pick",
    "gains market share",
    "cuts debt",
    "orders beat hopes",
    "stock looks cheap with upside",
    "order book grows",
    "raises {m} at a higher price",
    "shorts are covering",
    "insiders buy shares",
    "breaking out, long here",
    "bullish calls bought",
    "profit doubles",
    "expands into new markets",
    "settles lawsuit on good terms",
    "debt rating raised by agency",
    "call volume soars",
]
_BAD = [
    "faces lawsuit over safety",
    "is under investigation",
    "recalls product",
    "files for bankruptcy",
    "to cut {n} jobs",
    "delays launch",
    "fined {m}",
    "cuts its dividend",
    "sees weak demand",
    "halts production",
    "loses key customer",
    "hits {w}-week low",
    "hits record low",
    "posts surprise loss",
    "swings to loss",
    "trial fails",
    "suspends dividend",
    "ceo resigns suddenly",
    "warns on profit",
    "hit by tariffs",
    "shuts plants",
    "withdraws guidance",
    "faces recession fears",
    "short seller targets shares",
    "breaking down, short here",
    "bearish puts bought",
    "loses {m} in quarter",
    "misses payment on debt",
    "prices stock offering at a discount",
    "debt rating cut to junk by agency",
    "insiders sell shares",
    "sales collapse",
    "shares halted after plunge",
    "hurt by virus outbreak",
]
_PLAIN = [
    "to present at conference in {mo}",
    "names new finance chief",
    "declares quarterly dividend",
    "to report results on {mo} {d}",
    "files form 8-K",
    "earnings call transcript",
    "appoints director to board",
    "announces annual meeting",
    "opens new office",
    "holds investor day",
    "publishes annual report",
    "completes previously announced deal",
    "what to know before the open",
    "to webcast its call",
    "sets date for earnings",
    "launches new website",
    "what analysts expect",
    "total voting rights",
    "director dealing",
    "five things to watch",
    "who owns the stock",
    "a look at the history",
    "to host call",
    "announces change of auditor",
    "schedules conference call",
    "is it a buy?",
    "opinion: how to think about it",
    "moves headquarters",
    "introduces new logo",
    "explains its strategy",
    "talks with the press",
    "quarterly holdings report",
]
_RATINGS_HIGH = ["Buy", "Outperform", "Overweight", "Strong Buy", "Accumulate", "Conviction Buy"]
_RATINGS_LOW = [
    "Sell",
    "Underperform",
    "Underweight",
    "Reduce",
    "Hold",
    "Neutral",
    "Market Perform",
    "Equal Weight",
]
_MONTHS = (
    "January February March April May June July August September October November December".split()
)
_INDEXES = (
    "Stocks|Futures|Shares|Bonds|Oil prices|Gold|The dollar|The euro|Sterling|Treasury yields|Crude|Bitcoin|"
    "Asian shares|European stocks|Small caps|Tech stocks|Bank shares|Copper|Home sales|Factory orders|Exports|"
    "Retail sales|Consumer confidence|Job openings|The index"
).split("|")
_WHY_UP = (
    "on strong results|after upbeat outlook|on trade hopes|on stimulus hopes|after deal|as fears ease|on upgrade|"
    "after earnings beat|on takeover talk|on strong demand"
).split("|")
_WHY_DOWN = (
    "on weak results|after profit warning|on trade fears|on virus worries|after deal collapses|as fears grow|"
    "on downgrade|after earnings miss|on demand worries|on supply glut"
).split("|")
_WHY_FLAT = (
    "ahead of data|before the meeting|in thin trading|as investors wait|in early trading".split("|")
)


@dataclass(frozen=True)
class Headline:
    """An invented headline, its kind, and which way it points (up, down or flat)."""

    text: str
    kind: str
    direction: str
    company: str
    ticker: str


def company(rng: random.Random) -> str:
    """Invent a company name."""
    name = rng.choice(_STARTS.split()) + rng.choice(_ENDS.split())
    if rng.random() < 0.6:
        name += " " + rng.choice(_KINDS.split())
    return f"{name} {rng.choice(_FORMS)}" if rng.random() < 0.4 else name


def _bank(rng: random.Random) -> str:
    name = rng.choice(_STARTS.split()) + rng.choice(_ENDS.split())
    return f"{name} {rng.choice(_BANKS)}" if rng.random() < 0.7 else name


def _ticker(rng: random.Random) -> str:
    return "$" + "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rng.choice([2, 3, 3, 4, 4])))


def _percent(rng: random.Random) -> str:
    return f"{rng.uniform(0.1, 30):.1f}%" if rng.random() < 0.6 else f"{rng.randint(1, 60)}%"


def _money(rng: random.Random) -> str:
    sign = rng.choice(["$", "$", "$", "€", "£"])
    return (
        f"{sign}{rng.randint(1, 900)}{rng.choice(['M', ' million', 'B', ' billion', 'mln', 'm'])}"
    )


def _price(name: str, way: str, rng: random.Random) -> str:
    verb = rng.choice({"up": RISES, "down": FALLS, "flat": HOLDS}[way])
    why = rng.choice({"up": _WHY_UP, "down": _WHY_DOWN, "flat": _WHY_FLAT}[way])
    subject = rng.choice([name, f"{name} stock", f"{name} shares", rng.choice(_INDEXES)])
    size = "" if way == "flat" or rng.random() < 0.5 else " " + _percent(rng)
    if rng.random() < 0.3:
        sign = {
            "up": ["+", "up ", "higher by "],
            "down": ["-", "down ", "lower by "],
            "flat": ["0.0 / ", "steady "],
        }
        return f"{subject} {rng.choice(sign[way])}{_percent(rng)}"
    return f"{subject} {verb}{size}" + (f" {why}" if rng.random() < 0.5 else "")


def _rating(name: str, way: str, rng: random.Random) -> str:
    bank, high, low = _bank(rng), rng.choice(_RATINGS_HIGH), rng.choice(_RATINGS_LOW)
    if way == "up":
        forms = [
            f"{bank} upgrades to {high}",
            f"{name} upgraded to {high} at {bank}",
            f"{bank} raises {name} to {high}",
            f"{name} raised to {high} from {low} at {bank}",
            f"{bank} turns bullish on {name}",
            f"{bank} boosts {name}",
            f"{name} started at {high} by {bank}",
            f"{bank} sees upside in {name}",
            f"{bank} goes to {high} on {name}",
        ]
    elif way == "down":
        forms = [
            f"{bank} cuts to {low}",
            f"{name} downgraded to {low} at {bank}",
            f"{bank} downgrades {name}",
            f"{name} cut to {low} from {high} at {bank}",
            f"{bank} turns bearish on {name}",
            f"{name} loses a bull at {bank}",
            f"{bank} steps to the sidelines on {name}",
            f"{bank} warns on {name}",
            f"{bank} slashes {name} to {low}",
        ]
    else:
        forms = [
            f"{bank} keeps rating on {name}",
            f"{name} rating reiterated at {bank}",
            f"{bank} starts {name} at {low}",
            f"{bank} resumes coverage of {name}",
            f"{bank} no longer covers {name}",
            f"{bank} publishes note on {name}",
        ]
    return rng.choice(forms)


def _target(name: str, way: str, rng: random.Random) -> str:
    bank, old = _bank(rng), rng.randint(8, 300)
    new = (
        old
        if way == "flat"
        else max(1, round(old * (1 + (1 if way == "up" else -1) * rng.uniform(0.05, 0.5))))
    )
    verb = rng.choice(
        {
            "up": ["raised", "lifted", "boosted", "hiked", "increased", "upped"],
            "down": ["cut", "lowered", "slashed", "trimmed", "reduced", "dropped"],
            "flat": ["kept", "maintained", "unchanged", "reiterated"],
        }[way]
    )
    forms = [
        f"{name} price target {verb} to ${new} from ${old} at {bank}",
        f"{name} PT {verb} to ${new} at {bank}",
        f"{bank}: {name} target {verb} to ${new}",
        f"{name} target price {verb} from ${old} to ${new} by {bank}",
    ]
    return rng.choice(forms)


def _result(name: str, way: str, rng: random.Random) -> str:
    cents, what = (
        f"${rng.uniform(0.01, 2):.2f}",
        rng.choice(["EPS", "revenue", "profit", "sales", "earnings", "FFO"]),
    )
    quarter = rng.choice(["Q1", "Q2", "Q3", "Q4", "full-year", "quarterly", "third-quarter"])
    forms = {
        "up": [
            f"{name} {what} beats by {cents}",
            f"{name} tops {quarter} estimates",
            f"{name} {quarter} {what} above consensus",
            f"{name} beats on {what}",
            f"{name} {quarter} {what} jumps {_percent(rng)}",
            f"{name} lifts outlook",
            f"{name} raises full-year guidance",
            f"{name} sees {quarter} {what} above estimates",
            f"{name} boosts forecast",
        ],
        "down": [
            f"{name} {what} misses by {cents}",
            f"{name} falls short of {quarter} estimates",
            f"{name} misses on {what}",
            f"{name} {quarter} {what} below consensus",
            f"{name} {quarter} {what} drops {_percent(rng)}",
            f"{name} cuts outlook",
            f"{name} lowers full-year guidance",
            f"{name} sees {quarter} {what} below estimates",
            f"{name} slashes forecast",
        ],
        "flat": [
            f"{name} {what} in-line",
            f"{name} reports {quarter} results",
            f"{name} {quarter} {what} of {cents}",
            f"{name} affirms guidance",
            f"{name} {quarter} {what} as expected",
            f"{name} backs outlook",
        ],
    }
    return rng.choice(forms[way])


def _event(name: str, way: str, rng: random.Random) -> str:
    phrase = rng.choice({"up": _GOOD, "down": _BAD, "flat": _PLAIN}[way])
    return f"{name} " + phrase.format(
        m=_money(rng),
        p=_percent(rng),
        w=rng.choice([20, 26, 52]),
        n=rng.randint(50, 9000),
        mo=rng.choice(_MONTHS),
        d=rng.randint(1, 28),
    )


_MAKERS: dict[str, Callable[[str, str, random.Random], str]] = {
    "price": _price,
    "rating": _rating,
    "target": _target,
    "result": _result,
    "event": _event,
    "report": report,
}


def headline(rng: random.Random) -> Headline:
    """Invent one headline of a random kind and direction, in the dress of a tweet or of a news line."""
    kind, way = rng.choice(list(_MAKERS)), rng.choice(["up", "down", "flat"])
    name, ticker = company(rng), _ticker(rng)
    text = _MAKERS[kind](name, way, rng)
    dress = rng.random()
    if dress < 0.2:
        text = f"{ticker} - {text}"
    elif dress < 0.35:
        text = f"{ticker}: {text}"
    elif dress < 0.42:
        text = f"{text} ({ticker})"
    if rng.random() < 0.1:
        text = (
            text[0].upper()
            + text[1:]
            + rng.choice([" today", ".", "!", " - report", " #stocks", "; shares in focus"])
        )
    if rng.random() < 0.3:
        code = "".join(
            rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=10)
        )
        text += f" https://t.co/{code}"
    return Headline(text, kind, way, name, ticker)
