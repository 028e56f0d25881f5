"""Invented sentences about invented people, firms and places, for the exercises of the tiny base.

The wordings and name parts are this module's own; the demo's data has others.
"""

# ruff: noqa: E501 - wordings are easier to read on one line
from __future__ import annotations

import random
import re
from dataclasses import dataclass

_FIRST_STARTS = (
    "An Be Cor Da El Fi Gre Hu Il Jo Ka Li Mo Na Ol Pi Ro Su Ti Va Wi Ye Zo Ade Bri Cla".split()
)
_FIRST_ENDS = (
    "ra lin na mar dis vin la ko ten sha bert mund lotte ria sel wyn dar mo nic tha".split()
)
_STEM_STARTS = (
    "Abr Bol Cren Dun Erd Fal Gim Hol Irv Jas Kor Lan Mil Nev Osk Pran Quil Rov Stan Tul Urs Vin Wol Yar Zel Thren Sker"
).split()
_STEM_ENDS = "a ado ane by dal den ena field ham ier ino ish ko ley man mere ok ova sk ton ue ward well y zo".split()
_FIRM_KINDS = (
    "Bank|Bancorp|Chemicals|Credit|Dairy|Electric|Finance|Foods|Glass|Holdings|Industries|Investments|Lines|Mills|Mining|"
    "National Bank|Paper|Partners|Power|Products|Properties|Services|Stores|Systems|Technologies|Trust|Works|Group|Capital"
).split("|")
_FIRM_FORMS = "Inc.|Corp.|Ltd.|LLC|PLC|AG|N.A.|Co.|Corporation|Company|L.P.|Limited|S.A.".split("|")
_SPOT_FORMS = (
    "{} City|Port {}|{} County|New {}|Lake {}|{} Hills|West {}|{} Beach|Fort {}|{} Springs|San {}|the town of {}|South {}|{} Island|{} Park"
).split("|")
_MONTHS = (
    "January February March April May June July August September October November December".split()
)

_WORDINGS = (
    "{human} met the owners of {firm} at a hotel in {spot}.",
    "{firm} hired {human} as its new counsel.",
    "The road from {spot} to {spot2} was closed in {month}.",
    "{firm} paid {human} a fee of ${n} million.",
    "{human}, who grew up in {spot}, retired last {month}.",
    "{firm} sued {firm2} in a court in {spot}.",
    "The factory that {firm} built in {spot} employs {n} workers.",
    "{human} and {human2} founded {firm} {n} years ago.",
    "It rained in {spot} when {human} arrived.",
    "A spokesman for {firm} declined to comment on talks with {firm2}.",
    "By: {human}, Director, {firm}",
    "THIS NOTE is made by {firm} in favor of {firm2}.",
    "{firm}, a company organized under the laws of {spot}, as lender",
    "The keys were handed to {human} in {month}.",
    "{firm} rents a hall in {spot} from {firm2}.",
    "{human} told reporters that {firm} would open a store in {spot}.",
    "Headquartered in {spot}, {firm} was founded by {human}.",
    "The trustee, {firm}, holds the deed to the farm near {spot}.",
    "{human} sold {n} shares to {human2}.",
    "Flights between {spot} and {spot2} cost ${n}.",
    "{firm} borrowed ${n} million from {firm2} in {month}.",
    "Yours truly, {human}",
    "The mayor of {spot} thanked {human} for the gift.",
    "Under the pledge, {firm} delivers the goods to {spot} by {month}.",
    "{firm} dismissed {human} after an audit by {firm2}.",
    "The store in {spot} made a profit.",
    "His wife, {human}, inherited the house in {spot}.",
    "Interest is owed by {firm} to the holders.",
    "{firm2} merged with {firm}, and {human} left.",
    "Residents of {spot} voted against the plan of {firm}.",
    "The contract names {human} as buyer and {firm} as seller.",
    "{firm} and its subsidiaries, including {firm2}, guarantee the bonds.",
    "Ms. {human} wrote to {firm}.",
    "Mr. {human} spoke in {spot}.",
)


@dataclass(frozen=True)
class Mention:
    """A sentence, a name in it, and what the name is: human, firm or spot."""

    text: str
    name: str
    kind: str


def _stem(rng: random.Random) -> str:
    return rng.choice(_STEM_STARTS) + rng.choice(_STEM_ENDS)


def _human(rng: random.Random) -> str:
    first = rng.choice(_FIRST_STARTS) + rng.choice(_FIRST_ENDS)
    middle = f" {rng.choice('ABCDEFGHJKLMNPRSTW')}." if rng.random() < 0.25 else ""
    return f"{first}{middle} {_stem(rng)}"


def _firm(rng: random.Random) -> str:
    parts = [_stem(rng)]
    if rng.random() < 0.15:
        parts.append(f"& {_stem(rng)}")
    if rng.random() < 0.6:
        parts.append(rng.choice(_FIRM_KINDS))
    if rng.random() < 0.5:
        parts.append(rng.choice(_FIRM_FORMS))
    return " ".join(parts)


def _spot(rng: random.Random) -> str:
    return _stem(rng) if rng.random() < 0.5 else rng.choice(_SPOT_FORMS).format(_stem(rng))


def mention(rng: random.Random) -> Mention:
    """Invent one sentence and choose one of its names."""
    wording = rng.choice(_WORDINGS)
    makers = {"human": _human, "firm": _firm, "spot": _spot}
    names = {
        slot: makers[slot.rstrip("2")](rng)
        for slot in re.findall(r"\{(\w+)\}", wording)
        if slot.rstrip("2") in makers
    }
    text = wording.format(**names, n=rng.randint(2, 900), month=rng.choice(_MONTHS))
    slot = rng.choice(list(names))
    return Mention(text[0].upper() + text[1:], names[slot], slot.rstrip("2"))
