"""Every example is read back from its own text before it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from ..errors import DataError
from ..tasks.answers import evaluate, operands, parse_formula
from .draft import Draft
from .facts import Context
from .layout import Line, read_segment
from .ratio_questions import rounded
from .ratios import DECIMALS
from .reconcile import Known

_FRAMES = ("<|", "|>", "</s>", "[INST]")


def fault(draft: Draft, *, segment: str, answer: str, tokens: int, budget: int) -> str:
    """Return why an example must not be used, nothing where it is sound.

    The segment is parsed again; exactly one fact in it may match the question, its value must be
    the answer, and the question must not hold the answer.
    """
    question = draft.wording.text
    if tokens > budget:
        return "segment over the budget"
    if answer != "0" and answer in question:
        return "answer stands in the question"
    if any(frame in question for frame in _FRAMES):
        return "question holds a control token"
    try:
        lines = read_segment(segment)
    except (DataError, ArithmeticError):
        return "segment is not well-formed"
    if draft.task == "tag":
        return _fault_of_tag(draft, lines, answer)
    if draft.task in ("value", "absent"):
        return _fault_of_value(draft, lines, answer)
    if draft.task == "context":
        matches = {line.context_id for line in lines if _at(line, draft.targets[0].key.context)}
        return "" if matches == {answer} else "not exactly one context matches"
    return _fault_of_formula(draft, lines, answer)


def _at(line: Line, context: Context) -> bool:
    members = tuple((str(d.axis), d.member) for d in context.dimensions)
    return line.period == str(context.period) and line.dimensions == members


def _fault_of_tag(draft: Draft, lines: Sequence[Line], answer: str) -> str:
    target = draft.targets[0]
    here = [line for line in lines if _at(line, target.key.context)]
    if answer not in {line.concept for line in here}:
        return "answer is not in the segment"
    if draft.description[1] == "value":
        same = {line.concept for line in here if line.value == target.value}
        if same != {answer}:
            return "another tag reports the same value"
    return ""


def _fault_of_value(draft: Draft, lines: Sequence[Line], answer: str) -> str:
    target = draft.targets[0]
    name = str(target.key.concept)
    found = [line for line in lines if line.concept == name and _at(line, target.key.context)]
    if draft.task == "absent":
        return "fact is in the segment after all" if found else ""
    if len({line.unit for line in found}) != 1:
        return "not exactly one fact matches"
    best = max(found, key=lambda line: _accuracy(line.decimals))
    if best.value != Decimal(answer):
        return "segment gives another value"
    allowed = {Decimal(answer), *map(Decimal, draft.alternatives)}
    return "" if {line.value for line in found} <= allowed else "segment gives another value"


def _fault_of_formula(draft: Draft, lines: Sequence[Line], answer: str) -> str:
    formula = draft.extra["formula"]
    node = parse_formula(formula["expr"])
    values: dict[str, Fraction] = {}
    for target in draft.targets:
        found = _values(target, lines)
        if len(found) != 1:
            return "not exactly one fact for an operand"
        name = str(target.key.concept)
        dated = f"{name}@{target.key.context.period.end}"
        values[dated] = values[name] = Fraction(found[0])
    try:
        exact = evaluate(node, {operand: values[str(operand)] for operand in operands(node)})
    except (KeyError, ZeroDivisionError):
        return "formula cannot be computed from the segment"
    result = rounded(exact, DECIMALS[formula["form"]])
    if result != Decimal(formula["result"]):
        return "formula gives another result"
    expected = formula["expr"] if draft.task == "formula" else format(result, "f")
    return "" if answer == expected else "formula gives another result"


def _values(target: Known, lines: Sequence[Line]) -> list[Decimal]:
    name = str(target.key.concept)
    found = [line for line in lines if line.concept == name and _at(line, target.key.context)]
    if not found or len({line.unit for line in found}) != 1:
        return []
    return [max(found, key=lambda line: _accuracy(line.decimals)).value]


def _accuracy(decimals: str) -> float:
    if decimals == "INF":
        return float("inf")
    return float(decimals) if decimals else float("-inf")
