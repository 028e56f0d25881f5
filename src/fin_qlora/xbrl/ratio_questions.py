"""Questions about ratios: write the formula, or work it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from string import Formatter
from typing import Any

from ..tasks.answers import ResultForm, evaluate, parse_formula
from .cover import is_year
from .draft import Draft, choice
from .facts import Concept, Context, Key, Period
from .index import FilingIndex
from .numbers import plain_text
from .operands import SYMBOLS, Alias
from .ratios import DECIMALS, RATIOS, Ratio
from .reconcile import Known
from .settings import BuildSettings, TaskName
from .wording import (
    CALCULATION_QUESTIONS,
    FORMULA_QUESTIONS,
    form_of_formula,
    form_of_result,
    word,
)

_STANDARD = "us-gaap"


@dataclass(frozen=True)
class Filled:
    """An operand with the tag and the fact that fill it."""

    alias: Alias
    one: Known


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A ratio for one period of one filing, with every operand found."""

    ratio: Ratio
    period: Period
    operands: Mapping[str, Filled]

    def expression(self, form: ResultForm) -> str:
        """Return the formula over tags; a tag that is needed at two dates says at which."""
        return self._write({name: self._tag(name) for name in self.operands}, form)

    def substituted(self, form: ResultForm) -> str:
        """Return the formula with its numbers filled in."""
        numbers = {name: plain_text(filled.one.value) for name, filled in self.operands.items()}
        return self._write(
            {n: f"({text})" if text.startswith("-") else text for n, text in numbers.items()}, form
        )

    def words(self) -> str:
        """Return the definition in words, with what each tag exactly is."""
        return self.ratio.words.format_map(
            {name: filled.alias.words for name, filled in self.operands.items()}
        )

    def result(self, form: ResultForm) -> Decimal:
        """Return the rounded result, half a unit upwards. Raises ZeroDivisionError."""
        exact = evaluate(parse_formula(self.substituted(form)), {})
        return rounded(exact, DECIMALS[form])

    def _tag(self, name: str) -> str:
        one = self.operands[name].one
        tag = str(one.key.concept)
        ends = {
            other.one.key.context.period.end
            for other in self.operands.values()
            if other.one.key.concept == one.key.concept
        }
        return f"{tag}@{one.key.context.period.end}" if len(ends) > 1 else tag

    def _write(self, filled: Mapping[str, str], form: ResultForm) -> str:
        text = self.ratio.expression.format_map(dict(filled))
        return f"({text}) * 100" if form == "percent" else text


def ratio_drafts(
    index: FilingIndex, settings: BuildSettings, task: TaskName
) -> Iterator[Draft | str]:
    """Ask for formulas (``formula``) or for their results."""
    found: list[Instance] = []
    for ratio in RATIOS:
        for period in periods(index):
            instance = fill(index, ratio, period)
            if isinstance(instance, str):
                yield instance
            else:
                found.append(instance)

    def order(one: Instance) -> int:
        return choice(settings.seed, "order", index.identity, task, one.ratio.name, one.period)

    for instance in sorted(found, key=order):
        pick = choice(settings.seed, index.identity, task, instance.ratio.name, instance.period)
        form = instance.ratio.forms[pick % len(instance.ratio.forms)]
        yield _draft(index, instance, form, task, pick // len(instance.ratio.forms))


def periods(index: FilingIndex) -> list[Period]:
    """Return the period of the document, and the year before it where it is a year."""
    own = index.cover.period
    if own.start is None:
        return []
    earlier = _year_before(index, own)
    return [own] if earlier is None else [own, earlier]


def fill(index: FilingIndex, ratio: Ratio, period: Period) -> Instance | str:
    """Find every operand of a ratio, or return why it cannot be asked for."""
    if ratio.annual and not is_year(period):
        return "ratio: asked for years only"
    names = [name for _, name, _, _ in Formatter().parse(ratio.expression) if name]
    operands: dict[str, Filled] = {}
    for name in dict.fromkeys(names):
        symbol = name.removesuffix("_prev")
        fixed = operands.get(symbol) if name != symbol else None
        found = _operand(index, symbol, _when(index, name, period), fixed)
        if found is None:
            return "ratio: an operand is missing"
        operands[name] = found
    if any(operands[name].one.value <= 0 for name in ratio.positive):
        return "ratio: an operand is not above zero"
    units = {filled.one.key.unit for name, filled in operands.items() if name != "SH"}
    if len(units) > 1:
        return "ratio: operands in different units"
    return Instance(ratio=ratio, period=period, operands=operands)


def rounded(value: Fraction, decimals: int) -> Decimal:
    """Return a fraction rounded to so many decimals, halves away from zero."""
    scaled = value * 10**decimals
    whole, rest = divmod(abs(scaled.numerator), scaled.denominator)
    whole += 2 * rest >= scaled.denominator
    return Decimal(whole if scaled >= 0 else -whole).scaleb(-decimals)


def _draft(
    index: FilingIndex, instance: Instance, form: ResultForm, task: TaskName, pick: int
) -> Draft | str:
    try:
        result = instance.result(form)
    except ZeroDivisionError:
        return "ratio: a denominator is zero"
    decimals = DECIMALS[form]
    words = {
        "title": instance.ratio.title,
        "company": index.cover.company,
        "when": index.when(instance.period),
        "words": instance.words(),
    }
    formula = instance.expression(form)
    extra: dict[str, Any] = {
        "name": instance.ratio.name,
        "expr": formula,
        "substituted": instance.substituted(form),
        "result": format(result, "f"),
        "form": form,
        "decimals": decimals,
        "operands": [
            {
                "symbol": name,
                "tag": str(filled.one.key.concept),
                "period": str(filled.one.key.context.period),
                "value": plain_text(filled.one.value),
                "note": filled.alias.note,
            }
            for name, filled in instance.operands.items()
        ],
    }
    construct = task == "formula"
    wording = (
        word("formula", FORMULA_QUESTIONS, pick, words | {"form": form_of_formula(form)})
        if construct
        else word(
            "calculation",
            CALCULATION_QUESTIONS,
            pick,
            words | {"form": form_of_result(form, decimals)},
        )
    )
    return Draft(
        task=task,
        key=f"{instance.ratio.name}|{instance.period}|{form}",
        wording=wording,
        targets=tuple(filled.one for filled in instance.operands.values()),
        answer=formula if construct else format(result, "f"),
        description=(instance.words(), "ratio"),
        extra={"formula": extra},
        swaps=tuple(_swaps(index, instance, form)) if construct else (),
    )


def _swaps(index: FilingIndex, instance: Instance, form: ResultForm) -> Iterator[tuple[str, Key]]:
    """Yield the formula with another tag for one operand that reports the same amount there."""
    for name, filled in instance.operands.items():
        if f"{name}_prev" in instance.operands or name.endswith("_prev"):
            continue
        for alias in SYMBOLS[name].aliases:
            other = index.find(Concept(_STANDARD, alias.name), filled.one.key.context)
            if other is None or other.key == filled.one.key or other.value != filled.one.value:
                continue
            operands = {**instance.operands, name: Filled(alias, other)}
            yield replace(instance, operands=operands).expression(form), other.key


def _operand(
    index: FilingIndex, symbol: str, period: Period | None, fixed: Filled | None
) -> Filled | None:
    """Find the fact for an operand; at its second date it must have the tag of the first."""
    if period is None:
        return None
    context = Context(index.entity, period)
    found = []
    for alias in SYMBOLS[symbol].aliases if fixed is None else (fixed.alias,):
        one = index.find(Concept(_STANDARD, alias.name), context)
        if one is not None:
            found.append(Filled(alias, one))
    if symbol == "REV" and len(found) > 1:
        found.sort(key=lambda filled: not _adds_up(index, filled.one, context))
    return found[0] if found else None


def _adds_up(index: FilingIndex, revenue: Known, context: Context) -> bool:
    """Say whether revenue equals gross profit plus cost, as on the income statement."""
    parts = [_operand(index, symbol, context.period, None) for symbol in ("GP", "COGS")]
    return all(parts) and revenue.value == sum(part.one.value for part in parts if part)


def _when(index: FilingIndex, name: str, period: Period) -> Period | None:
    symbol = name.removesuffix("_prev")
    assert period.start is not None
    if SYMBOLS[symbol].instant:
        return Period(period.start - timedelta(days=1)) if name != symbol else Period(period.end)
    return _year_before(index, period) if name != symbol else period


def _year_before(index: FilingIndex, period: Period) -> Period | None:
    if period.start is None or not is_year(period):
        return None
    end = period.start - timedelta(days=1)
    found = {
        context.period
        for context in index.by_context
        if context.period.end == end and is_year(context.period) and not context.dimensions
    }
    return found.pop() if len(found) == 1 else None
