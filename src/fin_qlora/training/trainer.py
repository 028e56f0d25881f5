"""TRL's SFTTrainer with its traps closed."""

from __future__ import annotations

import contextlib
import copy
import functools
from typing import Any, ClassVar

import torch
from accelerate import DistributedType
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, TrainingArguments
from trl import SFTTrainer

from ..evidence.cost import RunCost
from ..models.base import keep_trainable
from .batches.row_order import batches_of, check_order, mask_repeated, rows_once
from .batches.sampling import GlobalBatches
from .batches.several_tasks import (
    check_collator,
    check_packable,
    check_tasks,
    parsed_weights,
    weights_by_id,
)
from .checks.rows import (
    aligned,
    check_template,
    checked,
    first_row,
    holds_conversations,
    is_text_pair,
)
from .checks.trackers import check_trackers
from .config import FinSFTConfig
from .forward.loss import (
    Tally,
    TokenFigures,
    refuse_weights,
    require_answers,
    token_figures,
    tokens_in,
    with_an_answer,
    without_answers,
)
from .forward.predictions import Predictor, inputs_as_they_are, split
from .optimizers.zero_one_training import ZeroOneTraining, settle_optimizer
from .running.run import Run


class FinSFTTrainer(ZeroOneTraining, SFTTrainer):
    """Everything of TRL's SFTTrainer, with these differences.

    - A row that would be cut, or that has no answer to train on, is an error.
    - A prompt is trained on as it is asked: no token of it merges with the answer.
    - In conversations only the assistant's turns are trained.
    - Quantised layers stay in the layout that has gradients, also after an evaluation.
    - LoRA weights are trained in ``FinSFTConfig.adapter_dtype``.
    - The head runs only at the positions that are trained, on every device; batches have no
      padding, and what their rows begin with in common is computed once.
    - A batch of many tokens runs in several passes, so that memory stays what it was.
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
        check_collator(data_collator, config)
        settle_optimizer(config)
        check_trackers(config)
        super().__init__(model, config, data_collator, train_dataset, *rest, **options)
        keep_trainable(self.model)
        self._cast_adapter()
        check_tasks(self)
        check_order(self)
        #: What the run stands on besides rows and settings, such as the base: name -> digest.
        self.origin: dict[str, str] = {}
        #: Running sums that a resumed run goes on with, by name: numbers, tensors and lists.
        self.counters: dict[str, Any] = {}
        tasks: dict[str, int] = getattr(self.data_collator, "task_ids", {})
        self._task_weights: torch.Tensor | None = None
        weights = parsed_weights(self.args.task_weights)
        if weights:
            self._task_weights = torch.tensor(weights_by_id(weights, task_ids=tasks))
        #: Who deals out the rows, when that is not transformers.
        self.own_batches: GlobalBatches | None = None
        self._tallies = {"train": Tally(tasks, self.counters), "eval": Tally(tasks, {})}
        self._predictor = Predictor(self.model, share_prefix=self.args.share_prefix)
        self.run = Run(self)
        self.add_callback(self.run)
        self.add_callback(self.run.meter)

    def train(
        self, resume_from_checkpoint: str | bool | None = None, *rest: Any, **options: Any
    ) -> Any:
        """Train as TRL does; a checkpoint of another run is refused.

        A first Ctrl-C or SIGTERM stops after the step at hand, on all processes alike, with a
        checkpoint; a second one stops at once.

        Raises:
            TrainingInterrupted: after the first, a KeyboardInterrupt with its ``checkpoint``.
            MissingFileError, CheckpointMismatchError: there is no such checkpoint, or it is of a
                run with other rows, another base, batch, adapter, optimizer or seed.
            DivergedError, UntrainedAdapterError: training leads nowhere.
            MemoryShortError, DiskFullError, ProcessLostError: it cannot go on here.
        """
        with self.run.going(resume_from_checkpoint) as checkpoint:
            return super().train(checkpoint, *rest, **options)

    @property
    def cost(self) -> RunCost:
        """What training cost on all processes, with the parts that it was resumed from."""
        return self.run.cost

    def _get_output_dir(self, *args: Any, **options: Any) -> str:
        return self.run.place(super()._get_output_dir(*args, **options))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        write = functools.partial(super()._save_checkpoint, model, trial)
        self.run.save(write, run_dir=super()._get_output_dir(trial))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self.run.pushes_later(checkpoint_folder):
            super()._push_from_checkpoint(checkpoint_folder)

    def _get_grad_norm(self, *args: Any, **options: Any) -> Any:
        norm = super()._get_grad_norm(*args, **options)
        self.run.watch.check(norm)
        return norm

    def _get_num_items_in_batch(self, batch_samples: Any, device: torch.device) -> Any:
        trained = self.run.watch.batches(mask_repeated(self, batch_samples))
        if trained is not None:
            self.run.meter.count(trained)
        return super()._get_num_items_in_batch(batch_samples, device)

    def _send_telemetry(self) -> None:
        """Send none, also when the libraries were loaded before ours could tell them so."""

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
        if packing:
            check_packable(dataset)
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

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Return the batches of this process: mixed by task, even, and the same when resumed."""
        dataset = self.train_dataset if train_dataset is None else train_dataset
        self.own_batches = batches_of(self, dataset)
        return self.own_batches or super()._get_train_sampler(dataset)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the summed loss of the trained tokens over ``num_items_in_batch``.

        In training each token counts with the weight of its task; the count of tokens does not.

        A batch without one contributes nothing to training, and StepWatch ends the run.

        Raises:
            DataError: nothing in a batch of an evaluation is trained.
            UsageError: tasks have weights, and the loss is computed by other means than ours.
        """
        inputs = dict(inputs)
        ids = inputs.pop("task_ids", None)
        if (
            return_outputs
            or self.aux_loss_enabled
            or self.args.loss_type != "nll"
            or self.compute_loss_func is not None
            or self.label_smoother is not None
        ):
            if self.model.training:
                refuse_weights(self._task_weights)
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if not self.model.training:
            require_answers(
                inputs["labels"],
                step=self.state.global_step,
                rank=self.accelerator.process_index,
            )
        blank = self.model.training and without_answers(inputs)
        predicted = self._predictor.predict(model, with_an_answer(inputs) if blank else inputs)
        figures = token_figures(predicted.logits, predicted.targets)
        rows = predicted.rows
        if blank:
            figures, rows = TokenFigures(*(one[:0] for one in figures)), rows[:0]
        tasks = None if ids is None else ids.to(rows.device)[rows]
        tallied, of_tasks = figures, tasks
        if not self.model.training:
            once = rows < rows_once(self.accelerator, rows=len(inputs["labels"]))
            tallied = TokenFigures(*(one[once] for one in figures))
            of_tasks = None if tasks is None else tasks[once]
        self._tallies[self._mode].add(tallied, tokens=tokens_in(inputs), tasks=of_tasks)
        losses = figures.losses
        if self._task_weights is not None and tasks is not None and self.model.training:
            losses = losses * self._task_weights.to(losses)[tasks]
        if num_items_in_batch is None:
            return losses.sum() / max(len(losses), 1)
        loss = losses.sum() / torch.as_tensor(num_items_in_batch, device=losses.device)
        if self.args.average_tokens_across_devices:
            # the count is over all ranks, and DDP averages the gradients over them
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        return loss

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Run forward and backward over a batch, in passes of ``max_tokens_per_pass`` tokens."""
        parts = [inputs]
        if num_items_in_batch is not None and self._may_split:
            parts = split(inputs, limit=self.args.max_tokens_per_pass, shared=self._predictor.folds)
        casting = inputs_as_they_are if self.accelerator.native_amp else contextlib.nullcontext
        with casting(self.model):
            losses = []
            for number, part in enumerate(parts, 1):
                whole = number == len(parts)
                with contextlib.nullcontext() if whole else self.accelerator.no_sync(model):
                    losses.append(super().training_step(model, part, num_items_in_batch))
        return torch.stack(losses).sum()

    @property
    def _may_split(self) -> bool:
        # others count the passes of a step themselves, or wait for one another in each
        return self.accelerator.distributed_type in (
            DistributedType.NO,
            DistributedType.MULTI_CPU,
            DistributedType.MULTI_GPU,
        )

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def count_tokens(self) -> None:
        """Bring the tokens that were read to their total; all processes must do so together."""
        tokens = self._tallies["train"].take_tokens(self.accelerator)
        self._total_train_tokens += tokens // self.get_tp_size()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as TRL does, with the mean loss of each task where there are several."""
        mode = self._mode
        self.count_tokens()
        figures = self._tallies[mode].figures(self.accelerator)
        if figures:
            figures["num_tokens"] = self._total_train_tokens
            self._metrics[mode].update({name: [value] for name, value in figures.items()})
        super().log(logs, start_time)
