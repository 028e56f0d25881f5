"""Prompts whose answers are recorded at the end of training, to be asked again at every load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..inference.scoring import score_labels
from ..prompts import PromptContract

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase


def record_canaries(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    rows: Sequence[Mapping[str, str]],
    *,
    count: int = 8,
) -> list[dict[str, Any]]:
    """Return ``count`` prompts, the labels in turn, with the scores of base and adapter.

    Each is scored alone, as it will be when it is replayed, so that padding plays no part.
    """
    by_label = {label: [row for row in rows if row["label"] == label] for label in contract.labels}
    depth = max(map(len, by_label.values()))
    in_turn = [
        by_label[label][i]
        for i in range(depth)
        for label in contract.labels
        if i < len(by_label[label])
    ]
    canaries = []
    for row in in_turn[:count]:
        given = {name: row[name] for name in contract.fields if name in row}
        (tuned,) = score_labels(model, tokenizer, contract, [given])
        with model.disable_adapter():
            (base,) = score_labels(model, tokenizer, contract, [given])
        canaries.append(
            {"input": given, "label": row["label"], "base_scores": base, "adapter_scores": tuned}
        )
    return canaries
