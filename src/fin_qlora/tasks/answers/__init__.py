"""Reading and scoring answers to XBRL questions: tags, values, formulas and their results."""

from .expression import FormulaError, evaluate, operands, parse_formula
from .formulas import CALCULATION_RULE, FORMULA_RULE, ResultForm, score_calculation, score_formula
from .instructions import INSTRUCTIONS
from .outcome import Outcome, Score
from .tags import (
    CONTEXT_RULE,
    NOT_REPORTED,
    TAG_RULE,
    is_not_reported,
    parse_tag,
    score_context,
    score_not_reported,
    score_tag,
)
from .values import VALUE_RULE, Accuracy, Number, parse_number, score_value
from .wording import token_f1, words_of

__all__ = [
    "Outcome",
    "Score",
    "parse_tag",
    "score_tag",
    "score_context",
    "score_not_reported",
    "is_not_reported",
    "Accuracy",
    "Number",
    "parse_number",
    "score_value",
    "token_f1",
    "words_of",
    "FormulaError",
    "parse_formula",
    "operands",
    "evaluate",
    "ResultForm",
    "score_formula",
    "score_calculation",
    "INSTRUCTIONS",
    "TAG_RULE",
    "VALUE_RULE",
    "CONTEXT_RULE",
    "FORMULA_RULE",
    "CALCULATION_RULE",
    "NOT_REPORTED",
]
