"""How an example becomes token ids, and an answer becomes a label again."""

from .contract import PLAIN_SHAPE, EncodedExample, Form, PromptContract

__all__ = ["PLAIN_SHAPE", "EncodedExample", "Form", "PromptContract"]
