"""Labels of rows for several adapters, scored in the same batches on the base they share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ..labels.layout import LabelBatch
from ..labels.tree import LabelTree
from ..reading.batches import Keep, Progress, by_length, collected
from ..reading.faults import check_finite, numbered
from ..scoring import MASK_BUDGET, TOKEN_BUDGET

if TYPE_CHECKING:
    from peft import PeftModel

    from .attached import AttachedAdapter


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Rows of several adapters with the labels of all their tasks behind each prompt.

    Labels do not see one another, so that a row's own ones are as likely as if they stood alone.
    What prompts begin with cannot be read once for all: each adapter reads it in its own way.

    Args:
        prompts: ids of each row.
        slots: what PEFT calls the adapter of each row.
        answers: of each row, its labels and which answer of the tree each is.
    """

    model: PeftModel
    prompts: Sequence[list[int]]
    slots: Sequence[str]
    answers: Sequence[Mapping[str, int]]
    tree: LabelTree

    @classmethod
    def of(
        cls,
        rows: Sequence[Mapping[str, Any] | str],
        routes: Sequence[tuple[AttachedAdapter, str]],
    ) -> Self | None:
        """Lay rows out; None where they cannot share batches: a row is too long, or the base's
        architecture reads labels one by one.

        Args:
            routes: of each row, its adapter and the name of its task.
        """
        places: dict[tuple[str, str], list[int]] = {}
        for place, (one, task) in enumerate(routes):
            places.setdefault((one.slot, task), []).append(place)
        known: dict[tuple[int, ...], int] = {}
        prompts: list[list[int]] = [[] for _ in rows]
        answers: list[Mapping[str, int]] = [{} for _ in rows]
        for mine in places.values():
            one, task = routes[mine[0]]
            contract = one.tasks[task]
            spoken = contract.answers(one.tokenizer, contract.labels)
            numbers = [known.setdefault(tuple(answer), len(known)) for answer in spoken]
            with numbered(mine):
                asked = contract.prompts(one.tokenizer, [rows[place] for place in mine])
            for place, prompt in zip(mine, asked, strict=True):
                prompts[place] = prompt
                answers[place] = dict(zip(contract.labels, numbers, strict=True))
        model = routes[0][0].model
        longest = max(map(len, prompts)) + max(map(len, known))
        from ..reading.whole import Whole  # brings transformers, which reads HF_ENDPOINT once

        whole = Whole(model)
        if longest > whole.config.max_position_embeddings or not whole.takes_trees(longest=longest):
            return None
        return cls(
            model=model,
            prompts=prompts,
            slots=[one.slot for one, _ in routes],
            answers=answers,
            tree=LabelTree.of(list(known)),
        )

    def log_likelihoods(
        self, *, batch_size: int, progress: Progress | None = None, keep: Keep | None = None
    ) -> list[dict[str, float]]:
        """Return, for each row in order, the natural log-likelihood of each of its labels.

        Arguments and errors are those of ``label_log_likelihoods``.
        """
        from ..reading.whole import Whole

        widths = [len(prompt) for prompt in self.prompts]
        batches = list(
            by_length(
                [width + self.tree.nodes for width in widths],
                batch_size=batch_size,
                fits=lambda rows, width: (
                    rows * width**2 <= MASK_BUDGET and rows * width <= TOKEN_BUDGET
                ),
            )
        )
        with _adapters_by_row(self.model) as choose:

            def laid_out() -> Iterator[LabelBatch]:
                for rows in batches:
                    choose([self.slots[row] for row in rows])
                    yield LabelBatch.of([self.prompts[row] for row in rows], self.tree)

            totals = Whole(self.model).totals(laid_out(), tree=self.tree, beginning=())

            def found() -> Iterator[list[dict[str, float]]]:
                for rows, batch in zip(batches, totals, strict=True):
                    for row, numbers in zip(rows, batch, strict=True):
                        check_finite(numbers, model=self.model, place=f"Input {row + 1}")
                    yield [
                        {label: values[number] for label, number in self.answers[row].items()}
                        for row, values in zip(rows, batch.tolist(), strict=True)
                    ]

            with contextlib.closing(totals):
                return collected(batches, found(), widths=widths, keep=keep, progress=progress)


@contextlib.contextmanager
def _adapters_by_row(model: PeftModel) -> Iterator[Callable[[list[str]], None]]:
    """Let each row of the coming passes be answered by an adapter of its own.

    PEFT takes ``adapter_names`` of the rows where its model is called; here the layers below are,
    and they take the same. Yields what sets the names for the next pass.
    """
    from peft.tuners.lora import LoraLayer

    chosen: list[str] = []

    def told(_layer: Any, given: Any, options: dict[str, Any]) -> Any:
        return given, {**options, "adapter_names": chosen}

    def choose(names: list[str]) -> None:
        chosen[:] = names

    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    hooks = [layer.register_forward_pre_hook(told, with_kwargs=True) for layer in layers]
    try:
        yield choose
    finally:
        for hook in hooks:
            hook.remove()
