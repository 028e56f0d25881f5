"""Prompts whose answers are recorded at the end of training, to be asked again at every load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from ...inference.generation import generate_answers
from ...inference.likelihood import mean_log_likelihood
from ...inference.scoring import score_labels
from ...prompts import FACTS, PromptContract

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

Row = Mapping[str, str]

#: A task's contract, and the rows that it may be asked by.
Asked = tuple[PromptContract, Sequence[Row]]

#: Canaries of a whole adapter; every task has at least one.
COUNT = 8


def record_canaries(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Mapping[str, Asked],
    *,
    count: int = COUNT,
) -> dict[str, list[dict[str, Any]]]:
    """Return ``count`` prompts, shared out over the tasks, the labels of each in turn.

    Labels come with their scores under base and adapter, free answers with the mean log-likelihood
    of the right answer and with what the adapter wrote. Each is asked alone, as it will be when it
    is replayed, so that padding plays no part.
    """
    shares = [max(1, len(range(place, count, len(tasks)))) for place in range(len(tasks))]
    return {
        name: [
            _canary(model, tokenizer, contract, row)
            for row in islice(_in_turn(rows, contract), share)
        ]
        for (name, (contract, rows)), share in zip(tasks.items(), shares, strict=True)
    }


def _in_turn(rows: Sequence[Row], contract: PromptContract) -> Iterator[Row]:
    """Yield the rows, one of each label after the other; of free answers, each once at first."""
    by_answer: dict[str, list[Row]] = {label: [] for label in contract.labels}
    for row in rows:
        by_answer.setdefault(row["label"], []).append(row)
    depth = max(map(len, by_answer.values()))
    return (same[i] for i in range(depth) for same in by_answer.values() if i < len(same))


def _canary(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, contract: PromptContract, row: Row
) -> dict[str, Any]:
    shortened = (FACTS,) if contract.shorten_to else ()  # by which rows are shortened
    given = {name: row[name] for name in (*contract.fields, *shortened) if name in row}
    canary = {"input": given, "label": row["label"]}
    if contract.grammar == "label":
        (tuned,) = score_labels(model, tokenizer, contract, [given])
        with model.disable_adapter():
            (base,) = score_labels(model, tokenizer, contract, [given])
        return {**canary, "base_scores": base, "adapter_scores": tuned}
    answer = row["label"]
    likely = mean_log_likelihood(model, tokenizer, contract, given, answer)
    (written,) = generate_answers(model, tokenizer, contract, [given])
    with model.disable_adapter():
        before = mean_log_likelihood(model, tokenizer, contract, given, answer)
    return {
        **canary,
        "base_log_likelihood": before,
        "adapter_log_likelihood": likely,
        "adapter_answer": written.text,
    }
