"""The order of a data set's rows as a run's settings ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import pyarrow.compute
import torch

from ...errors import UsageError
from ...prompts.contract import IGNORED
from .dealing import Cut
from .sampling import GlobalBatches
from .several_tasks import task_column
from .shares import SamplingRule

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..trainer import FinSFTTrainer

#: What transformers calls the ways of drawing rows that are GlobalBatches here.
_OURS = ("group_by_length", "random")


def check_order(trainer: FinSFTTrainer) -> None:
    """Raise UsageError when tasks are to be drawn by a rule that cannot be followed."""
    rule, obstacle = trainer.args.task_sampling, _obstacle(trainer, trainer.train_dataset)
    if obstacle and rule != "proportional":
        raise UsageError(
            f"task_sampling is '{rule}', but {obstacle}.",
            fix="Set task_sampling to 'proportional', or use a data set with "
            "train_sampling_strategy 'group_by_length'.",
        )


def order_of(trainer: FinSFTTrainer) -> str:
    """Return how the rows of training are drawn, as settings and model together have it.

    ``grouped`` when rows of like length come together, ``mixed`` when they do not, and
    ``transformers`` where its own sampler draws them.
    """
    if _obstacle(trainer, trainer.train_dataset):
        return "transformers"
    return "grouped" if _grouped(trainer) else "mixed"


def batches_of(trainer: FinSFTTrainer, dataset: Any) -> GlobalBatches | None:
    """Return the batches of this process; None where transformers' own sampler is to draw them.

    That is the case for streams, for ``train_sampling_strategy`` ``sequential`` and
    ``batch_rebalance``, and where several processes compute one batch together.
    """
    if _obstacle(trainer, dataset):
        return None
    args = trainer.args
    return GlobalBatches(
        lengths_of(dataset),
        tasks=task_column(dataset) or None,
        cut=_cut(trainer),
        process=args.process_index,
        rule=cast(SamplingRule, args.task_sampling),
        temperature=args.task_sampling_temperature,
        seed=args.seed if args.data_seed is None else args.data_seed,
        grouped=_grouped(trainer),
        drop_last=args.dataloader_drop_last,
        steps_done=lambda: trainer.state.global_step,
    )


def mask_repeated(trainer: FinSFTTrainer, batches: Sequence[Any]) -> list[Any]:
    """Return the micro-batches of a step that count; in the others, no token is trained."""
    dealer = trainer.own_batches
    if dealer is None or trainer.args.ignore_data_skip:
        return list(batches)  # without skipping, a resumed epoch is no longer ours to number
    counting = []
    for batch, again in zip(batches, dealer.repeated(trainer.state.global_step), strict=False):
        if again:
            batch["labels"] = torch.full_like(batch["labels"], IGNORED)
        else:
            counting.append(batch)
    return counting


def rows_once(accelerator: Accelerator, *, rows: int) -> int:
    """Return how many of the first rows of an evaluation's batch no other batch has as well.

    Where the last batches would be of different size, accelerate fills them with rows from the
    beginning, behind those of the last process that has any.
    """
    state = accelerator.gradient_state
    if not state.end_of_dataloader or state.remainder <= 0:
        return rows
    return max(0, min(rows, state.remainder - accelerator.process_index * rows))


def _grouped(trainer: FinSFTTrainer) -> bool:
    # where nothing is padded, like lengths together would only make some batches larger than others
    padded = not trainer._predictor.folds
    return padded and trainer.args.train_sampling_strategy == "group_by_length"


def _cut(trainer: FinSFTTrainer) -> Cut:
    return Cut(
        micro_batch=trainer._train_batch_size,
        accumulation=trainer.args.gradient_accumulation_steps,
        processes=trainer.args.world_size,
    )


def _obstacle(trainer: FinSFTTrainer, dataset: Any) -> str:
    """Return why the rows cannot be drawn by GlobalBatches; nothing when they can."""
    strategy = trainer.args.train_sampling_strategy
    if not hasattr(dataset, "__len__"):
        return "the rows come as a stream, whose tasks cannot be counted"
    if strategy not in _OURS:
        return f"train_sampling_strategy is '{strategy}'"
    if trainer.get_total_train_batch_size(trainer.args) != _cut(trainer).global_batch:
        return "several processes compute one batch together"
    return ""


def lengths_of(dataset: Any) -> list[int]:
    """Return the number of tokens of each row of a tokenised data set."""
    if not hasattr(dataset, "column_names"):
        return [len(dataset[i]["input_ids"]) for i in range(len(dataset))]
    lengths: list[int] = []
    for table in dataset.select_columns(["input_ids"]).with_format("arrow").iter(10_000):
        lengths += pyarrow.compute.list_value_length(table["input_ids"]).to_pylist()
    return lengths
