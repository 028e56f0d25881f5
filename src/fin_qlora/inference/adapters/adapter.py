"""An adapter on its base, alone or with others: asked row by row for the task that each names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import AdapterMismatchError, UsageError
from ...models.base import BaseIdentity, Quantization
from ..calibration import Calibration
from ..generation import Generated
from ..reading.batches import Progress
from .asking import Inputs, ask_by_route, ask_stream
from .attached import AttachedAdapter, attach_adapter
from .folder import Verify, read_adapter
from .prediction import Prediction
from .roster import Roster, Route

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from ...prompts import PromptContract


class Adapter:
    """A trained adapter on its base, with the prompts that it was trained with.

    Others that were trained on the same base can be added to it; the base is in memory once.

    Attributes:
        base: identity of the base model.
        quantization: how the base was loaded.
    """

    def __init__(
        self,
        first: AttachedAdapter,
        *,
        base: BaseIdentity,
        base_folder: Path,
        quantization: Quantization,
    ) -> None:
        self.base = base
        self.quantization: Quantization = quantization
        self._base_folder = base_folder
        self._made = 1
        self._roster = Roster(first)

    @property
    def model(self) -> PeftModel:
        """Return the PEFT model; of several adapters, the one last asked or added is active."""
        return self._roster.first.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the tokenizer that travels with the adapter (of several, the first one's)."""
        return self._roster.first.tokenizer

    @property
    def revision(self) -> str | None:
        """Return the commit of the adapter's repository, or None for a local folder."""
        return self._roster.first.commit

    @property
    def adapters(self) -> tuple[str, ...]:
        """Return the names of the adapters that are on the base."""
        return self._roster.names

    @property
    def tasks(self) -> dict[str, PromptContract]:
        """Return the name of each task that can be asked for -> how an input becomes a prompt."""
        return self._roster.tasks

    @property
    def task(self) -> str:
        """Return the name of the task. Raises UsageError when there are several."""
        return self._roster.only_task()

    @property
    def contract(self) -> PromptContract:
        """Return the prompt contract of the only task. Raises UsageError when there are several."""
        return self.tasks[self.task]

    def predict(
        self,
        inputs: Inputs,
        *,
        task: str | None = None,
        batch_size: int = 32,
        abstain_below: float | None = None,
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """Return one prediction for each input, in order.

        An input is a row with the fields of the prompt (``contract.fields``) or a plain string,
        which is taken as the whole input. Every label is scored; nothing is generated or parsed.

        Args:
            inputs: all that can be iterated over.
            task: the task that is asked. Without it a row says so in its field ``task``, unless
                there is only one.
            batch_size: rows in one forward pass at most.
            abstain_below: a row whose likeliest label is less probable than this gets none.
            progress: called with the number of rows done after each batch.

        Raises:
            UsageError: it is not said which of several tasks is asked, there is no such one, or
                its answers are free.
            TruncatedAnswerError: an input leaves no room for its answer.
            MemoryShortError: a batch does not fit.
        """
        _check_threshold(abstain_below)
        rows = [inputs] if isinstance(inputs, str) else list(inputs)
        scored = ask_by_route(
            "score", rows, self._routed(rows, task), batch_size=batch_size, progress=progress
        )
        return [
            Prediction.of(found, calibration=self._calibration(row, task), below=abstain_below)
            for row, found in zip(rows, scored, strict=True)
        ]

    def stream(
        self,
        inputs: Inputs,
        *,
        task: str | None = None,
        batch_size: int = 32,
        abstain_below: float | None = None,
    ) -> Iterator[Prediction]:
        """Yield one prediction for each input, in order, while the inputs are still being read.

        Only some batches of rows are in memory at a time, the first ones a single batch, so that
        answers begin to come at once. When a row fails, those before it that are done are yielded
        before the error is raised. Arguments and errors are those of ``predict``.
        """
        _check_threshold(abstain_below)
        for row, found in ask_stream(
            "score", inputs, lambda rows: self._routed(rows, task), batch_size=batch_size
        ):
            yield Prediction.of(
                found, calibration=self._calibration(row, task), below=abstain_below
            )

    def score(
        self,
        inputs: Inputs,
        *,
        task: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[dict[str, float]]:
        """Return, for each input in order, the natural log-likelihood of every label.

        It is summed over the label's tokens and the end token, and not calibrated. Arguments and
        errors are those of ``predict``.
        """
        rows = [inputs] if isinstance(inputs, str) else list(inputs)
        return ask_by_route(
            "score", rows, self._routed(rows, task), batch_size=batch_size, progress=progress
        )

    def generate(
        self,
        inputs: Inputs,
        *,
        task: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[Generated]:
        """Return what the adapter writes for each input, in order: its likeliest words, unread.

        It is for tasks whose answers are free, and works for labels as well. Arguments and errors
        are those of ``predict``.
        """
        rows = [inputs] if isinstance(inputs, str) else list(inputs)
        return ask_by_route(
            "generate", rows, self._routed(rows, task), batch_size=batch_size, progress=progress
        )

    def add(
        self,
        reference: str | Path,
        name: str | None = None,
        *,
        revision: str | None = None,
        verify: Verify = True,
    ) -> None:
        """Put another adapter beside those that are on the base; it is asked by its own tasks.

        The base is not loaded again. What ``load_adapter`` checks is checked here too, and a
        refused adapter is taken off again.

        Args:
            reference: ``org/name`` or a folder.
            name: puts ``name/`` before its tasks' names, for where another adapter has the same.
                It is also what ``remove`` takes; without it that is the last part of
                ``reference``, or all of it where that part is another adapter's name.
            revision: branch, tag or commit of its repository.

        Raises:
            UsageError: an adapter has that name already, or a task has.
            AdapterMismatchError: it was trained on another base, or on one quantised otherwise;
                or whatever ``load_adapter`` refuses.
        """
        called, prefix = name or self._roster.name_for(str(reference)), f"{name}/" if name else ""
        source = read_adapter(
            reference, revision=revision, on=(self._base_folder, self.base), verify=verify
        )
        if source.trained_in != self.quantization:
            raise AdapterMismatchError(
                f"'{reference}' was trained on its base in '{source.trained_in}', and this one is "
                f"in '{self.quantization}'.",
                fix="Load it on a base of its own, by load_adapter.",
            )
        self._roster.check_free(called, source.tasks, prefix=prefix)
        attached = attach_adapter(
            self.model,
            source,
            name=called,
            slot=f"added_{self._made}",
            quantization=self.quantization,
            verify=verify,
        )
        self._made += 1
        self._roster.add(attached, prefix=prefix)

    def remove(self, name: str) -> None:
        """Take an adapter off the base, and give its memory back.

        Raises UsageError when there is none of that name, or it is the only one.
        """
        going = self._roster.remove(name)
        self._roster.first.activate()
        self.model.delete_adapter(going.slot)

    def activate(self, task: str) -> None:
        """Let ``model`` answer as the adapter of that task does. Raises UsageError: no such."""
        self._roster.route({}, task)[0].activate()

    def calibrate(self, calibration: Calibration | None, *, task: str | None = None) -> None:
        """Turn a task's log-likelihoods into probabilities by what was fitted; None: as they are.

        It must not have been fitted on rows that are then judged by it.
        """
        one, own = self._roster.route({}, task)
        one.calibrations.pop(own, None)
        if calibration is not None:
            one.calibrations[own] = calibration

    def task_of(self, row: Mapping[str, Any] | str, *, task: str | None = None) -> str:
        """Return the name of the task that a row is asked for: ``task``, or what the row says.

        Raises UsageError when neither says which of several tasks it is, or there is no such one.
        """
        return self._roster.task_of(row, task)

    def _routed(self, rows: Iterable[Mapping[str, Any] | str], task: str | None) -> list[Route]:
        return [self._roster.route(row, task) for row in rows]

    def _calibration(self, row: Mapping[str, Any] | str, task: str | None) -> Calibration | None:
        one, own = self._roster.route(row, task)
        return one.calibrations.get(own)

    def __repr__(self) -> str:
        return f"Adapter(tasks=[{', '.join(self.tasks)}], base={self.base.id!r})"


def _check_threshold(below: float | None) -> None:
    if below is not None and not 0 <= below <= 1:
        raise UsageError(
            f"abstain_below is {below}, and probabilities are between 0 and 1.",
            fix="Use a number between 0 and 1.",
        )
