"""TRL's SFTTrainer with its traps closed."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from trl import SFTTrainer

from ..errors import DataError, EmptyDatasetError, TruncatedAnswerError
from ..models.base import keep_trainable
from ..prompts.contract import IGNORED
from .config import FinSFTConfig


class FinSFTTrainer(SFTTrainer):
    """Everything of TRL's SFTTrainer, with these differences.

    - A row that would be cut, or that has nothing to train on, is an error.
    - Quantised layers stay in the layout that has gradients, also after an evaluation.
    - LoRA weights are trained in ``FinSFTConfig.adapter_dtype``.
    - The head runs only at the positions that are trained, on every device.
    - Batches may carry ``task_ids`` (see XBRLMultiTaskCollator).
    """

    args: FinSFTConfig
    _tag_names: ClassVar[list[str]] = ["trl", "sft", "fin_qlora"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        keep_trainable(self.model)
        if not self.is_deepspeed_enabled:  # DeepSpeed keeps float32 masters of its own
            dtype = getattr(torch, self.args.adapter_dtype)
            for parameter in self.model.parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.to(dtype)

    def _prepare_dataset(
        self, dataset: Any, processing_class: Any, args: Any, packing: bool, *rest: Any
    ) -> Any:
        limit = args.max_length
        if not packing:
            args = copy.copy(args)
            args.max_length = None  # TRL would cut the end of a row, which is its answer
        prepared = super()._prepare_dataset(dataset, processing_class, args, packing, *rest)
        if not packing and hasattr(prepared, "__len__"):
            _check_rows(prepared, limit)
        return prepared

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: list[str] = self._signature_columns
        if "task" not in columns:
            self._signature_columns: list[str] = [*columns, "task"]

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the summed loss of the trained tokens over ``num_items_in_batch``."""
        inputs = {name: value for name, value in inputs.items() if name != "task_ids"}
        on_gpu = inputs["input_ids"].device.type == "cuda"
        if on_gpu or return_outputs or self.aux_loss_enabled or self.args.loss_type != "nll":
            # on a GPU, TRL's own head already skips the positions that are not trained
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs.pop("labels")
        trained = labels[:, 1:] != IGNORED
        columns = trained.any(0).nonzero().flatten()
        logits = model(**inputs, use_cache=False, logits_to_keep=columns).logits.float()
        targets, mask = labels[:, columns + 1], trained[:, columns]
        log_probabilities = logits.log_softmax(-1)
        taken = log_probabilities.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
        total = -(taken * mask).sum()
        items = mask.sum() if num_items_in_batch is None else num_items_in_batch
        loss = total / torch.as_tensor(items, device=total.device).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # the count is over all ranks, and DDP averages the gradients over them
            loss = loss * self.accelerator.num_processes
        self._note_metrics(log_probabilities.detach(), targets, mask, inputs)
        return loss

    def _note_metrics(
        self,
        log_probabilities: torch.Tensor,
        targets: torch.Tensor,
        mask: torch.Tensor,
        inputs: dict[str, Any],
    ) -> None:
        """Keep the figures that TRL logs: entropy, token accuracy and tokens seen."""
        mode = "train" if self.model.training else "eval"
        entropy = -(log_probabilities.exp() * log_probabilities).sum(-1)
        right = log_probabilities.argmax(-1) == targets
        tokens = (
            inputs["attention_mask"].sum()
            if "attention_mask" in inputs
            else mask.new_tensor(inputs["input_ids"].numel(), dtype=torch.long)
        )
        figures = torch.stack(
            [
                mask.sum().float(),
                (entropy * mask).sum(),
                (right & mask).sum().float(),
                tokens.float(),
            ]
        )
        valid, spread, correct, seen = (
            self.accelerator.gather_for_metrics(figures[None]).sum(0).tolist()
        )
        self._metrics[mode]["entropy"].append(spread / max(valid, 1))
        self._metrics[mode]["mean_token_accuracy"].append(correct / max(valid, 1))
        if mode == "train":
            self._total_train_tokens += int(seen)
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]


def _check_rows(dataset: Any, limit: int | None) -> None:
    if len(dataset) == 0:
        raise EmptyDatasetError("The data set has no row.", fix="Check the data files.")
    for number, row in enumerate(dataset.select_columns(["input_ids", "labels"]), start=1):
        length = len(row["input_ids"])
        if limit is not None and length > limit:
            raise TruncatedAnswerError(
                f"Row {number} has {length} tokens, more than max_length={limit}.",
                fix=f"Set max_length to at least {length}, or shorten the row.",
            )
        if all(label == IGNORED for label in row["labels"]):
            raise DataError(f"Row {number} has no trained token.", fix="Every row needs an answer.")
