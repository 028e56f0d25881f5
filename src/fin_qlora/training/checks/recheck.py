"""A second look at what will be trained, from the columns that the trainer gets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy

from ...errors import ContractError, DataError, TruncatedAnswerError, UnknownLabelError
from ...prompts import IGNORED, PromptContract
from ...tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def check_gold(task: Task, rows: Sequence[Mapping[str, str]], *, split: str) -> None:
    """Raise UnknownLabelError for the first row whose own answer the task would not accept.

    Where the task cannot read the right answer, no model can be scored on it.
    """
    accepted: set[str] = set()
    for number, row in enumerate(rows, start=1):
        answer = row["label"]
        if answer in accepted:
            continue
        if task.parse(answer) is None:
            raise UnknownLabelError(
                f"Row {number} of the {split} rows of task '{task.name}' has the answer "
                f"{answer[:60]!r}, which is no {task.answer}.",
                fix="Correct the row, or take it out.",
            )
        accepted.add(answer)


def check_answer_room(
    task: Task,
    rows: Sequence[Mapping[str, str]],
    *,
    split: str,
    contract: PromptContract,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Raise TruncatedAnswerError for the first right answer that is too long ever to be written.

    An evaluation ends answers at the contract's room for them: a longer one would be trained, and
    counted as wrong however well it was learnt.
    """
    if contract.grammar == "label":
        return
    room = contract.answer_room(tokenizer)
    lengths = list(map(len, contract.answers(tokenizer, [row["label"] for row in rows])))
    for number, (row, length) in enumerate(zip(rows, lengths, strict=True), start=1):
        if length > room:
            raise TruncatedAnswerError(
                f"Row {number} of the {split} rows of task '{task.name}' has an answer of {length} "
                f"tokens, where answers may have {room}: {row['label'][:60]!r}.",
                fix="Shorten it or take the row out; in Python, a contract may have "
                f"answer_tokens={max(lengths)}.",
            )


def check_labels_and_stop(
    contract: PromptContract, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Check that the base can write the labels, and stops where answers end.

    Raises ContractError when a label is read back as another word, when two labels have the same
    ids, or when the base in ``folder`` generates past the end token that is trained.
    """
    answers = contract.answers(tokenizer, contract.labels)
    for label, ids in zip(contract.labels, answers, strict=True):
        if contract.decode(tokenizer, ids) != label:
            raise ContractError(
                f"The tokenizer cannot write the label '{label}': it reads it back as "
                f"{tokenizer.decode(ids[:-1])!r}.",
                fix="Use another base, or another word for the label.",
            )
    if len(set(map(tuple, answers))) < len(answers):
        raise ContractError("Two labels have the same token ids.")
    settings = folder / "generation_config.json"
    stops: set[int] = set()
    if settings.is_file():
        named = json.loads(settings.read_text(encoding="utf-8")).get("eos_token_id")
        stops = {named} if isinstance(named, int) else set(named or ())
    end = contract.stop_tokens(tokenizer, also=stops)[0]
    if stops and end not in stops:
        raise ContractError(
            f"Answers would end in {tokenizer.convert_ids_to_tokens(end)!r}, but the base's "
            "generation_config.json does not stop there.",
            fix="Add its id to eos_token_id, or use the other prompt form.",
        )


def check_trained_tokens(
    columns: Mapping[str, Any],
    rows: Sequence[Mapping[str, str]],
    *,
    task: Task,
    contract: PromptContract,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
) -> None:
    """Check that of every row the answer and its end are trained, whole, and nothing else.

    It trusts nothing that the encoder says: only the ids and labels that the trainer gets, and the
    answers of the rows.

    Args:
        columns: ``input_ids`` and ``labels``, Arrow lists of integers, one for each of ``rows``.

    Raises:
        ContractError: the prompt is trained, the end token is not, or the trained tokens are
            another answer than the row's.
        TruncatedAnswerError: a row has more than ``max_length`` tokens.
        DataError: there are more or fewer lists than rows.
    """
    ids, labels = columns["input_ids"], columns["labels"]
    if not len(ids) == len(labels) == len(rows):
        raise DataError(
            f"Task '{task.name}' has {len(rows)} rows, but {len(ids)} were encoded.",
            fix="Delete the encoded rows that are kept between runs, and try again.",
        )
    ends = ids.offsets.to_numpy()[1:] - ids.offsets.to_numpy()[0]
    starts = numpy.concatenate([[0], ends[:-1]])
    tokens, targets = ids.flatten().to_numpy(), labels.flatten().to_numpy()
    trained = targets != IGNORED

    def refuse(row: int, what: str) -> NoReturn:
        raise ContractError(
            f"Row {row + 1} of task '{task.name}' {what}: {str(rows[row].get('text'))[:60]!r}.",
            fix="This is a fault of the prompt contract or the tokenizer: use another form.",
        )

    def first(wrong: Any, what: str) -> None:
        if wrong.any():
            refuse(int(wrong.argmax()), what)

    if len(tokens) != len(targets):
        raise DataError("Ids and labels have different lengths.", fix="Encode the rows again.")
    lengths = ends - starts
    if max_length is not None and (lengths > max_length).any():
        longest = int(lengths.argmax())
        raise TruncatedAnswerError(
            f"Row {longest + 1} of task '{task.name}' has {lengths[longest]} tokens, more than "
            f"max_length={max_length}.",
            fix=f"Set max_length to at least {lengths[longest]}.",
        )
    row_of = numpy.repeat(numpy.arange(len(rows)), lengths)
    counts = numpy.bincount(row_of, weights=trained, minlength=len(rows)).astype(int)
    first(counts < 2, "has no trained answer")
    place_from_end = ends[row_of] - numpy.arange(len(tokens))
    shifted = trained != (place_from_end <= counts[row_of])
    first(
        numpy.bincount(row_of, weights=shifted, minlength=len(rows)) > 0,
        "would train something besides its answer",
    )
    other = trained & (targets != tokens)
    first(
        numpy.bincount(row_of, weights=other, minlength=len(rows)) > 0,
        "would train other tokens than it shows",
    )
    end = contract.end_token(tokenizer)
    first(targets[ends - 1] != end, "does not train the end of its answer")
    spelled: dict[tuple[int, ...], str | None] = {}
    for number, row in enumerate(rows):
        answer = tuple(tokens[ends[number] - counts[number] : ends[number] - 1].tolist())
        if answer not in spelled:
            text = tokenizer.decode(answer, clean_up_tokenization_spaces=False)
            spelled[answer] = None if end in answer else task.parse(text)
        if spelled[answer] is None or spelled[answer] != task.parse(row["label"]):
            refuse(
                number,
                f"would train the answer {tokenizer.decode(answer)!r} in place of {row['label']!r}",
            )
