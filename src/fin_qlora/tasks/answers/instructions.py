"""What a model is told before an XBRL question: one text for each kind of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .formulas import CALCULATION_RULE, FORMULA_RULE
from .tags import CONTEXT_RULE, NOT_REPORTED, TAG_RULE
from .values import VALUE_RULE

_LEAD: Final = (
    "Below is a segment of an XBRL filing: contexts, then the facts that refer to them. "
    "A question that names no member asks for the fact without dimensions."
)
_VALUE: Final = f"{VALUE_RULE} Answer {NOT_REPORTED} where the segment does not report it."

#: What a model is told to do, for each task. Absent facts are asked for as values are.
INSTRUCTIONS: Final[Mapping[str, str]] = {
    "tag": f"{_LEAD} {TAG_RULE}",
    "value": f"{_LEAD} {_VALUE}",
    "formula": f"{_LEAD} {FORMULA_RULE}",
    "formula_calc": f"{_LEAD} {CALCULATION_RULE}",
    "context": f"{_LEAD} {CONTEXT_RULE}",
    "absent": f"{_LEAD} {_VALUE}",
}
