"""TRL's SFTTrainer with its traps closed."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, TrainingArguments
from trl import SFTTrainer

from ..models.base import keep_trainable
from ..prompts.contract import IGNORED
from .config import FinSFTConfig
from .rows import aligned, check_template, checked, first_row, holds_conversations, is_text_pair


class FinSFTTrainer(SFTTrainer):
    """Everything of TRL's SFTTrainer, with these differences.

    - A row that would be cut, or that has no answer to train on, is an error.
    - A prompt is trained on as it is asked: no token of it merges with the answer.
    - In conversations only the assistant's turns are trained.
    - Quantised layers stay in the layout that has gradients, also after an evaluation.
    - LoRA weights are trained in ``FinSFTConfig.adapter_dtype``.
    - The head runs only at the positions that are trained, on every device.
    - Batches may carry ``task_ids`` (see XBRLMultiTaskCollator).
    """

    args: FinSFTConfig
    _tag_names: ClassVar[list[str]] = ["trl", "sft", "fin_qlora"]

    def __init__(
        self,
        model: Any,
        args: TrainingArguments | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        *rest: Any,
        **options: Any,
    ) -> None:
        config = FinSFTConfig.of(args)
        raw = train_dataset is not None and options.get("formatting_func") is None
        if raw and holds_conversations(first_row(train_dataset)):
            config = copy.copy(config)
            config.assistant_only_loss = True
            if isinstance(options.get("processing_class"), PreTrainedTokenizerBase):
                check_template(options["processing_class"])
        super().__init__(model, config, data_collator, train_dataset, *rest, **options)
        keep_trainable(self.model)
        self._cast_adapter()

    def _cast_adapter(self) -> None:
        """Bring the adapter to the precision that it is to be trained in."""
        if self.is_deepspeed_enabled or not isinstance(self.model, PeftModel):
            return  # DeepSpeed keeps float32 masters of its own
        dtype = getattr(torch, self.args.adapter_dtype)
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                # DoRA's magnitudes move by less than bfloat16 can tell
                kept = torch.float32 if "lora_magnitude_vector" in name else dtype
                parameter.data = parameter.data.to(kept)

    def _load_from_checkpoint(self, *args: Any, **options: Any) -> None:
        super()._load_from_checkpoint(*args, **options)
        self._cast_adapter()

    def _prepare_dataset(
        self,
        dataset: Any,
        processing_class: Any,
        args: Any,
        packing: bool,
        formatting_func: Any,
        dataset_name: str,
    ) -> Any:
        """Check every row in the order of the data, whole, before it is packed or shuffled."""
        whole, after = copy.copy(args), copy.copy(args)
        whole.max_length, whole.shuffle_dataset = None, False  # TRL would cut the answer
        if not packing:
            after.max_length = None
        if formatting_func is None and is_text_pair(first_row(dataset)):
            dataset = aligned(dataset, tokenizer=self._tokenizer, template=self.chat_template)
        prepared = super()._prepare_dataset(
            dataset, processing_class, whole, False, formatting_func, dataset_name
        )
        prepared = checked(prepared, limit=args.max_length, tokenizer=self._tokenizer)
        return super()._prepare_dataset(
            prepared, processing_class, after, packing, None, dataset_name
        )

    def create_model_card(self, *args: Any, **options: Any) -> None:
        """Write none: a card is made from an adapter's evidence, when it is published."""

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
        if (
            on_gpu  # there TRL's own head already skips the positions that are not trained
            or return_outputs
            or self.aux_loss_enabled
            or self.args.loss_type != "nll"
            or self.compute_loss_func is not None
            or self.label_smoother is not None
        ):
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
