"""Batches that mix tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from ..errors import ContractError, DataError
from ..prompts.contract import IGNORED, EncodedExample
from .batches.several_tasks import TASK, hint
from .checks.rows import with_boundary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class XBRLMultiTaskCollator:
    """Puts examples of several tasks into one batch: padded right, trained on answers only.

    An example is either encoded (``input_ids`` and ``labels``) or text (``prompt`` and
    ``completion``), and names its ``task`` where there are several. Text is tokenised prompt and
    completion apart and joined as ids, so that no merge moves the boundary between them; the end
    token is trained.

    Which rows share a batch is the matter of ``GlobalBatches``: FinSFTTrainer draws them by
    ``task_sampling``, and any other loop by ``DataLoader(rows, batch_sampler=GlobalBatches(...),
    collate_fn=collator)``.

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
        if isinstance(tasks, str) or len(set(tasks)) != len(tasks) or not tasks:
            raise DataError(f"The tasks {tasks!r} are not one or more different names.")
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
        if TASK not in example:
            if len(self.task_ids) == 1:
                return 0
            raise DataError(
                f"An example names no task; it has {_columns(example)}.",
                fix="Add a column 'task', and set remove_unused_columns to false where the trainer "
                "is not FinSFTTrainer.",
            )
        task = example[TASK]
        if task not in self.task_ids:
            raise DataError(f"An example has the task {task!r}.", fix=hint(task, self.task_ids))
        return self.task_ids[task]

    def _encoded(self, example: Mapping[str, Any]) -> EncodedExample:
        if {"input_ids", "labels"} <= example.keys():
            result = EncodedExample(
                input_ids=list(example["input_ids"]), labels=list(example["labels"])
            )
        elif {"prompt", "completion"} <= example.keys():
            result = self._from_text(str(example["prompt"]), str(example["completion"]))
        else:
            raise DataError(
                f"An example has {_columns(example)}.",
                fix="It needs input_ids and labels, or prompt and completion.",
            )
        if len(result.input_ids) != len(result.labels):
            raise DataError(
                f"An example has {len(result.input_ids)} input_ids and {len(result.labels)} labels."
            )
        if not result.answer_tokens:
            raise DataError(
                "An example has no trained token.", fix="Every example needs an answer."
            )
        return result

    def _from_text(self, prompt: str, completion: str) -> EncodedExample:
        if not completion.strip():
            raise DataError("An example has an empty completion.", fix="Give it an answer.")
        prompt, completion = with_boundary(prompt, completion)
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        prompt_ids = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        answer_ids = self.tokenizer(completion, add_special_tokens=False)["input_ids"]
        opening = [] if begin is None else [begin]
        return EncodedExample.of([*opening, *prompt_ids], [*answer_ids, end])


def _columns(example: Mapping[str, Any]) -> str:
    return f"the columns {', '.join(example)}" if example else "no column"


def _padded(rows: list[list[int]], value: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
