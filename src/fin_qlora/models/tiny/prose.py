"""Invented sentences of company reports in which something goes well, badly or nowhere."""

# ruff: noqa: E501 - wordings are easier to read on one line
from __future__ import annotations

import random

_WELCOME = "sales|profit|net income|margin|cash|orders|output|earnings per share|revenue|the order backlog|demand|market share|productivity|operating profit|customer numbers|bookings|the surplus|income".split(
    "|"
)
_UNWELCOME = "costs|debt|the loss|claims|expenses|interest costs|waste|the deficit|complaints|overheads|impairments|bad loans|returns of goods|staff turnover|fines|defects|the tax charge".split(
    "|"
)
_GREW = "rose|climbed|increased|grew|jumped|surged|advanced|went up|doubled|improved|expanded|were up|was higher|widened|soared|picked up|gained".split(
    "|"
)
_SHRANK = "fell|dropped|decreased|declined|slid|sank|shrank|went down|halved|tumbled|narrowed|was lower|slipped|plunged|contracted|eased|lost ground".split(
    "|"
)
_STAYED = "stayed the same|did not change|was flat|was as before|remained level|held at the old level|came to {m}|amounted to {m}|was {m}".split(
    "|"
)
_HAPPY = (
    "{f} won a large order for {g}|{f} beat its own target|Buyers liked the new {g} from {f}|{f} got permission to sell {g}|"
    "{f} paid back its loans early|{f} will take on more staff|The forecast of {f} was raised|Strong {g} helped {f}|"
    "A better month than expected for {f}|{f} returned to profit|{f} lifted its payout to owners|Thanks to good demand, {f} expands|"
    "{f} reached a favorable settlement|Savings at {f} were larger than planned|Record year at {f}|Good news for {f}: the plant is ready early|"
    "{f} exceeded hopes|Upgraded again, {f} thrives|{f} is growing faster than its rivals|The outlook of {f} brightened"
).split("|")
_UNHAPPY = (
    "{f} lost a large order for {g}|{f} missed its own target|Buyers disliked the new {g} from {f}|{f} was refused permission to sell {g}|"
    "{f} could not pay its loans|{f} will lay off staff|The forecast of {f} was lowered|Weak {g} hurt {f}|"
    "A worse month than expected for {f}|{f} made a loss|{f} stopped its payout to owners|For want of demand, {f} shrinks|"
    "{f} was fined by the authority|Overruns at {f} were larger than planned|Worst year at {f}|Bad news for {f}: the plant is late|"
    "{f} disappointed|Downgraded again, {f} suffers|{f} is losing ground to its rivals|The outlook of {f} darkened"
).split("|")
_EVEN = (
    "{f} sells {g}|{f} has {n} workers|The report of {f} appears in {q}|{f} is listed on the exchange|A new director joins {f}|"
    "{f} meets its shareholders in {q}|{f} left its forecast as it was|The seat of {f} is unchanged|{f} filed a form|"
    "{f} describes how it counts {g}|{f} renamed a unit|{f} has been making {g} since {y}|{f} will speak at a fair for {g}|"
    "The auditor of {f} is named|{f} changes its logo|The year of {f} ends in {q}|{f} publishes figures twice a year|What {f} does with {g}"
).split("|")
_GOODS = "tyres|shoes|paint|chips|cables|cars|wine|bread|lamps|tools|glass|engines|drugs|phones|games|timber|milk|loans".split(
    "|"
)


def _money(rng: random.Random) -> str:
    return f"{rng.choice(['$', '€', '£', 'EUR ', 'USD '])}{rng.uniform(1, 900):.1f} {rng.choice(['million', 'mln', 'billion', 'm'])}"


def report(name: str, way: str, rng: random.Random) -> str:
    """Invent a report sentence about the firm `name` that is good (up), bad (down) or neither (flat)."""
    if rng.random() < 0.5:
        phrase = rng.choice({"up": _HAPPY, "down": _UNHAPPY, "flat": _EVEN}[way])
        quarter = rng.choice(["spring", "summer", "autumn", "winter", "May", "June", "October"])
        return phrase.format(
            f=name,
            g=rng.choice(_GOODS),
            n=rng.randint(9, 9000),
            q=quarter,
            y=rng.randint(1890, 2020),
        )
    welcome = rng.random() < 0.6
    thing = rng.choice(_WELCOME if welcome else _UNWELCOME)
    if way == "flat":
        verb = rng.choice(_STAYED).format(m=_money(rng))
    else:
        verb = rng.choice(_GREW if welcome == (way == "up") else _SHRANK)
    size = rng.choice(
        [
            "",
            "",
            f" by {rng.randint(2, 60)}%",
            f" {rng.uniform(1, 60):.1f} percent",
            f" to {_money(rng)}",
        ]
    )
    if way == "flat":
        size = ""
    forms = [
        f"At {name}, {thing} {verb}{size}",
        f"{name}: {thing} {verb}{size}",
        f"{name} reported that {thing} {verb}{size}",
        f"In the {rng.choice(['first', 'second', 'third', 'fourth', 'last'])} quarter {thing} at {name} {verb}{size}",
        f"{thing[0].upper() + thing[1:]} at {name} {verb}{size}",
    ]
    return rng.choice(forms) + rng.choice(
        [".", "", ".", " this year.", " compared with a year ago."]
    )
