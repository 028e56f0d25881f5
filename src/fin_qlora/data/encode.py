"""Rows become token ids, each checked before a weight moves."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy
import pyarrow

from ..errors import EmptyDatasetError, TruncatedAnswerError, UsageError
from ..prompts import IGNORED, EncodedExample, OnOverlong, PromptContract
from .encode_cache import EncodedCache

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Progress = Callable[[int], None]
Row = Mapping[str, Any]

#: Rows that are tokenised in one go; what is held besides the ids does not grow with the data.
BATCH = 1024

#: One line for each encoded row. ``row`` counts from 0 in the rows that were given; ``cut_tokens``
#: and ``cut_facts`` say what shortening left out.
COLUMNS = pyarrow.schema(
    [
        ("row", pyarrow.int32()),
        ("input_ids", pyarrow.list_(pyarrow.int32())),
        ("prompt_tokens", pyarrow.int32()),
        ("cut_tokens", pyarrow.int32()),
        ("cut_facts", pyarrow.int32()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class EncodedRows:
    """Encoded examples in the order of their rows, with the lengths that a plan needs (tokens).

    Attributes:
        columns: one line for each encoded row, see ``COLUMNS``.
        given: rows that were given; those that are not encoded were dropped as too long.
    """

    columns: pyarrow.Table
    given: int

    @cached_property
    def examples(self) -> list[EncodedExample]:
        """Return the examples as lists; for many rows ``training_columns`` is much smaller."""
        pairs = zip(
            self.columns["input_ids"].to_pylist(),
            self.columns["prompt_tokens"].to_pylist(),
            strict=True,
        )
        return [EncodedExample.of(ids[:prompt], ids[prompt:]) for ids, prompt in pairs]

    def training_columns(self) -> dict[str, pyarrow.Array]:
        """Return ``input_ids`` and ``labels``, -100 on the prompt, as Arrow columns."""
        ids = self.columns["input_ids"].combine_chunks()
        values = ids.values.to_numpy()
        ends = numpy.cumsum(self.lengths)
        place = numpy.arange(len(values)) - numpy.repeat(ends - self.lengths, self.lengths)
        prompt = numpy.repeat(self._column("prompt_tokens"), self.lengths)
        labels = numpy.where(place < prompt, IGNORED, values).astype(numpy.int32)
        return {
            "input_ids": ids,
            "labels": pyarrow.ListArray.from_arrays(ids.offsets, pyarrow.array(labels)),
        }

    @cached_property
    def lengths(self) -> Any:
        """Return the number of tokens of each example, a numpy array of integers."""
        lists = self.columns["input_ids"].combine_chunks()
        return numpy.diff(lists.offsets.to_numpy())

    @cached_property
    def kept(self) -> list[int]:
        """Return the numbers, from 0, of the given rows that are encoded."""
        return self.columns["row"].to_pylist()

    @property
    def longest(self) -> int:
        """Return the length of the longest example in tokens."""
        return int(self.lengths.max())

    @property
    def mean_length(self) -> float:
        """Return the mean length of the examples in tokens."""
        return float(self.lengths.mean())

    @property
    def trained_tokens(self) -> int:
        """Return the number of trained tokens of all examples, the end tokens included."""
        return int(self.lengths.sum() - self._column("prompt_tokens").sum())

    @property
    def dropped(self) -> int:
        """Return how many rows were dropped because they are too long."""
        return self.given - len(self.columns)

    @property
    def shortened(self) -> dict[str, int]:
        """Return how many rows were shortened, and the tokens and facts that they lost."""
        cut = self._column("cut_tokens")
        return {
            "rows": int((cut > 0).sum()),
            "tokens": int(cut.sum()),
            "facts": int(self._column("cut_facts").sum()),
        }

    def _column(self, name: str) -> Any:
        return self.columns[name].to_numpy()


def shared_beginning(several: Sequence[EncodedRows]) -> int:
    """Return how many tokens all rows of all sets begin with in common."""
    lists = [one.columns["input_ids"].combine_chunks() for one in several if len(one.columns)]
    if not lists:
        return 0
    most = min(int(one.lengths.min()) for one in several if len(one.columns))
    first = lists[0].values.to_numpy()[:most]
    for place in range(most):
        for each in lists:
            if (each.values.to_numpy()[each.offsets.to_numpy()[:-1] + place] != first[place]).any():
                return place
    return most


def encode_rows(
    rows: Sequence[Row],
    *,
    contract: PromptContract,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
    on_overlong: OnOverlong = "raise",
    cache: EncodedCache | None = None,
    progress: Progress | None = None,
) -> EncodedRows:
    """Encode every row and refuse the set when one row would not be trained on as it stands.

    Args:
        rows: each with the contract's fields and its answer in ``label``.
        max_length: tokens that prompt and answer may have together; None for any number.
        on_overlong: what to do with a longer row: ``raise`` refuses the set, ``drop`` leaves the
            row out and counts it, ``shorten`` needs a contract that shortens to ``max_length``,
            ``shorten_or_drop`` too, and leaves out the rows that cannot be shortened enough.
        cache: where the ids of the same rows, contract and tokenizer are looked up and left.
        progress: called with the number of rows done after each batch.

    Raises:
        EmptyDatasetError: there is no row, or all were dropped.
        TruncatedAnswerError: a row is too long, or cannot be shortened enough.
        ContractError, UnknownLabelError: a row cannot be encoded without ambiguity.
    """
    if not rows:
        raise EmptyDatasetError("There is no row to encode.", fix="Check the data files.")
    if on_overlong != "raise" and max_length is None:
        raise UsageError(f"on_overlong is {on_overlong} without max_length.", fix="Set both.")
    if "shorten" in on_overlong and contract.shorten_to != max_length:
        raise UsageError(
            f"Rows are to be shortened to {max_length} tokens, but the prompt contract shortens "
            f"to {contract.shorten_to}.",
            fix="Set the contract's shorten_to to max_length.",
        )
    key = cache.key(rows, contract=contract, tokenizer=tokenizer) if cache else None
    table = cache.read(key, COLUMNS) if cache and key else None
    if table is None or len(table) != len(rows):
        with _collector_paused():
            table = _encoded(
                rows,
                contract=contract,
                tokenizer=tokenizer,
                leave=on_overlong == "shorten_or_drop",
                progress=progress,
            )
        if cache and key:
            cache.write(key, table)
    encoded = EncodedRows(columns=table, given=len(rows))
    if max_length is None or encoded.longest <= max_length:
        return encoded
    if "drop" not in on_overlong:
        raise _too_long(rows, encoded, max_length)
    fitting = EncodedRows(
        columns=table.filter(pyarrow.array(encoded.lengths <= max_length)), given=len(rows)
    )
    if not len(fitting.columns):
        raise EmptyDatasetError(
            f"All {len(rows)} rows are longer than max_length={max_length} tokens.",
            fix="Raise max_length, or set on_overlong to shorten.",
        )
    return fitting


def _encoded(
    rows: Sequence[Row],
    *,
    contract: PromptContract,
    tokenizer: PreTrainedTokenizerBase,
    leave: bool,
    progress: Progress | None,
) -> pyarrow.Table:
    room = contract.answer_room(tokenizer)
    answers: dict[str, list[int]] = {}
    batches = []
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        gold = [contract.gold(row) for row in batch]
        new = list(dict.fromkeys(text for text in gold if text not in answers))
        answers.update(zip(new, contract.answers(tokenizer, new), strict=True))
        fitted = contract.fitted(tokenizer, batch, first=start + 1, leave=leave)
        if contract.shorten_to is not None:
            _check_room(gold, answers, room=room, first=start)
        batches.append(
            pyarrow.record_batch(
                {
                    "row": range(start, start + len(batch)),
                    "input_ids": _joined([one.ids for one in fitted], [answers[g] for g in gold]),
                    "prompt_tokens": [len(one.ids) for one in fitted],
                    "cut_tokens": [one.cut_tokens for one in fitted],
                    "cut_facts": [one.cut_facts for one in fitted],
                },
                schema=COLUMNS,
            )
        )
        if progress is not None:
            progress(start + len(batch))
    return pyarrow.Table.from_batches(batches)


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep Python's collector of cycles away from the block.

    Lists of numbers form no cycle, but making many of them has it walk through every object of
    torch and transformers again and again: a third of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _joined(prompts: list[list[int]], answers: list[list[int]]) -> pyarrow.Array:
    """Return prompt and answer of each row as one list."""
    lengths = [len(p) + len(a) for p, a in zip(prompts, answers, strict=True)]
    values: list[int] = []
    for prompt, answer in zip(prompts, answers, strict=True):
        values += prompt
        values += answer
    offsets = numpy.concatenate([[0], numpy.cumsum(lengths)])
    return pyarrow.ListArray.from_arrays(
        pyarrow.array(offsets, type=pyarrow.int32()), pyarrow.array(values, type=pyarrow.int32())
    )


def _check_room(
    gold: Sequence[str], answers: Mapping[str, list[int]], *, room: int, first: int
) -> None:
    for number, text in enumerate(gold, start=first + 1):
        if len(answers[text]) > room:
            raise TruncatedAnswerError(
                f"The answer of row {number} has {len(answers[text])} tokens, but {room} are kept "
                f"free for answers: {text[:60]!r}.",
                fix=f"Set the contract's answer_tokens to at least {len(answers[text])}.",
            )


def _too_long(rows: Sequence[Row], encoded: EncodedRows, max_length: int) -> TruncatedAnswerError:
    lengths = encoded.lengths
    over, worst = int((lengths > max_length).sum()), int(lengths.argmax())
    return TruncatedAnswerError(
        f"{over} of {len(rows)} rows are longer than max_length={max_length} tokens; the longest "
        f"is row {worst + 1} with {lengths[worst]}: {str(rows[worst].get('text'))[:60]!r}.",
        fix=f"Set max_length to at least {lengths[worst]}, or on_overlong to shorten or drop.",
    )
