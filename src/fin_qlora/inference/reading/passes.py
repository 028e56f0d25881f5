"""What scoring and generation ask of a model, whole or in stages."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from ..labels.layout import LabelBatch
from ..labels.tree import LabelTree


@runtime_checkable
class Passes(Protocol):
    """A model that reads batches one after the other, and may read ahead of what is asked for.

    Attributes:
        config: of the base.
        generation_config: of the base, or None.
    """

    config: Any
    generation_config: Any

    def totals(
        self, batches: Iterable[LabelBatch], *, tree: LabelTree, beginning: Sequence[int]
    ) -> Generator[torch.Tensor, None, None]:
        """Yield the summed log-probability of each label, (rows, labels), for each batch.

        Args:
            beginning: the tokens before those of the batches.
        """
        ...

    def continued(
        self,
        batches: Iterable[Sequence[list[int]]],
        *,
        beginning: Sequence[int],
        stops: Sequence[int],
        room: int,
    ) -> Generator[list[list[int]], None, None]:
        """Yield, for each batch of prompts, the ids that follow each prompt.

        The stop token is included; there are at most ``room``.

        Args:
            beginning: the tokens before those of the batches.
        """
        ...
