"""How an example becomes token ids, and an answer becomes a label again."""

from .answers import ANSWER_TOKENS, Grammar
from .contract import PromptContract
from .encoder import PromptEncoder
from .example import IGNORED, EncodedExample
from .fitting import Fitted
from .layout import PLAIN_SHAPE, Form, Question, Shot
from .shorten import FACTS, OnOverlong, Removed
from .shots import choose_shots, without_shots

__all__ = [
    "PromptContract",
    "Form",
    "Grammar",
    "OnOverlong",
    "Shot",
    "Question",
    "EncodedExample",
    "Fitted",
    "Removed",
    "PromptEncoder",
    "choose_shots",
    "without_shots",
    "ANSWER_TOKENS",
    "FACTS",
    "IGNORED",
    "PLAIN_SHAPE",
]
