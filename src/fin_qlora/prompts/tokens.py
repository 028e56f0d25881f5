"""Text to token ids in batches, and the control tokens that no text may hold."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import ContractError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class ControlTokens:
    """The special tokens of a tokenizer: all that it declares, also those without a role.

    A base of the Llama 3 family names two of its 256 special tokens; the others are read as
    control tokens all the same when they stand in a text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        named = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
        declared: Mapping[int, object] = getattr(tokenizer, "added_tokens_decoder", {})
        added = {
            number: str(token)
            for number, token in declared.items()
            if getattr(token, "special", False)
        }
        self.spelling: dict[int, str] = {**named, **added}
        longest_first = sorted(self.spelling.values(), key=len, reverse=True)
        self._in_text = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        roles = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
        # a word that the tokenizer cannot write is no forged control token
        self._ids = frozenset(self.spelling) - ({tokenizer.unk_token_id} - roles)

    def refuse_in(self, text: str) -> None:
        """Raise ContractError when the text spells a control token."""
        found = self._in_text.search(text)
        if found:
            raise _forged(found[0], text)

    def count(self, ids: Sequence[int]) -> int:
        """Return how many of the ids are control tokens."""
        return sum(map(self._ids.__contains__, ids))

    def refuse_more_than(self, allowed: int, ids: Sequence[int], *, text: str) -> None:
        """Raise ContractError when ids of ``text`` hold more control tokens than its layout has.

        A normaliser can make a control token of a text that does not spell one.
        """
        if self.count(ids) != allowed:
            known = [self.spelling[token] for token in ids if token in self._ids]
            raise _forged(known[-1] if known else "", text)

    def first(self, ids: Sequence[int]) -> int | None:
        """Return the first control token among the ids."""
        return next((token for token in ids if token in self._ids), None)


def _forged(token: str, text: str) -> ContractError:
    at = max(text.find(token) - 20, 0)
    return ContractError(
        f"The text contains the special token {token!r}: {text[at : at + 60]!r}.",
        fix="Remove it from the data; the model would read it as a control token.",
    )


def tokenise(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of each text, those of ``tokenise_one``, on all cores."""
    if not texts:
        return []
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or tokenizer.split_special_tokens:
        return [tokenise_one(tokenizer, text) for text in texts]
    backend.no_truncation()
    backend.no_padding()
    with all_cores():
        # without the places of tokens in the text, which take a third of the time
        encodings = backend.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def tokenise_one(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the ids of a text, no special token added."""
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


@contextlib.contextmanager
def all_cores() -> Iterator[None]:
    """Let the tokenizer use every core inside the block, and none of its threads outside.

    Outside it stays off, so that processes forked later (data loaders) cannot hang.
    """
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "true"
    try:
        yield
    finally:
        os.environ[name] = before or "false"
