"""Batches that mix tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from ..errors import ContractError, DataError
from ..prompts.contract import IGNORED, EncodedExample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class XBRLMultiTaskCollator:
    """Puts examples of several tasks into one batch: padded right, trained on answers only.

    An example is either encoded (``input_ids`` and ``labels``) or text (``prompt`` and
    ``completion``), and names its ``task``. Text is tokenised prompt and completion apart and
    joined as ids, so that no merge moves the boundary between them; the end token is trained.

    Args:
        tokenizer: of the base; must have a padding token that is not its end token.
        tasks: the tasks that may occur; their order gives the ids.

    Returns:
        A batch of ``input_ids``, ``labels`` (-100 on prompt and padding) and ``attention_mask``
        of shape (examples, longest) and ``task_ids`` of shape (examples,).

    Raises:
        ContractError: the tokenizer cannot tell padding from the end of an answer.
        DataError: an example names an unknown task, or nothing in it would be trained.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, tasks: Sequence[str]) -> None:
        if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
            raise ContractError(
                "The tokenizer's padding token is missing or is its end token.",
                fix="Set tokenizer.pad_token to a token of its own.",
            )
        if len(set(tasks)) != len(tasks) or not tasks:
            raise DataError(f"The tasks {list(tasks)} are not one or more different names.")
        self.tokenizer = tokenizer
        self.task_ids = {task: number for number, task in enumerate(tasks)}

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return the batch."""
        encoded = [self._encoded(example) for example in examples]
        padding = self.tokenizer.pad_token_id
        lengths = torch.tensor([len(example.input_ids) for example in encoded])
        return {
            "input_ids": _padded([example.input_ids for example in encoded], padding),
            "labels": _padded([example.labels for example in encoded], IGNORED),
            "attention_mask": (torch.arange(int(lengths.max()))[None] < lengths[:, None]).long(),
            "task_ids": torch.tensor([self._task_id(example) for example in examples]),
        }

    def _task_id(self, example: Mapping[str, Any]) -> int:
        task = example.get("task")
        if task not in self.task_ids:
            raise DataError(
                f"An example has the task {task!r}.", fix=f"Known: {', '.join(self.task_ids)}."
            )
        return self.task_ids[task]

    def _encoded(self, example: Mapping[str, Any]) -> EncodedExample:
        if "input_ids" in example:
            result = EncodedExample(
                input_ids=list(example["input_ids"]), labels=list(example["labels"])
            )
        else:
            result = self._from_text(str(example["prompt"]), str(example["completion"]))
        if not result.answer_tokens:
            raise DataError(
                "An example has no trained token.", fix="Every example needs an answer."
            )
        return result

    def _from_text(self, prompt: str, completion: str) -> EncodedExample:
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        prompt_ids = self.tokenizer(prompt.rstrip(), add_special_tokens=False)["input_ids"]
        answer_ids = self.tokenizer(f" {completion.strip()}", add_special_tokens=False)["input_ids"]
        if not completion.strip():
            raise DataError("An example has an empty completion.", fix="Give it an answer.")
        opening = [] if begin is None else [begin]
        return EncodedExample.of([*opening, *prompt_ids], [*answer_ids, end])


def _padded(rows: list[list[int]], value: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
