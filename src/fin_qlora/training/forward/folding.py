"""A padded batch as one sequence: no padding, and what rows begin with in common is there once.

Attention is causal, so a token sees only what is before it in its row; rows that begin alike
compute the same there. The rows of a batch become a tree: a node is a run of tokens, its ancestors
are what comes before it, and a row is the way from a root to where it ends. Nothing of this is an
approximation: loss and gradients are those of the padded batch, except that a dropout mask is drawn
once for tokens that rows share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ...prompts.contract import IGNORED

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A shared run must save at least this many tokens to be worth a node of its own.
WORTH = 16
#: A shared run must be at least this part of what follows it: attention over parts costs more.
SHARE = 1 / 8


class Run(NamedTuple):
    """Some tokens of the sequence that stand together."""

    start: int
    length: int


@dataclass(frozen=True)
class Node:
    """A run of tokens, and what is before it in its rows.

    ``path`` holds the ancestors from the root on, ``depth`` how many tokens they have.
    """

    run: Run
    path: tuple[Run, ...]

    @property
    def depth(self) -> int:
        """Return the position of the first token in its rows."""
        return sum(run.length for run in self.path)


@dataclass(frozen=True)
class Folded:
    """A batch in one sequence of ``tokens`` tokens.

    ``input_ids`` and ``positions`` are (tokens,). A prediction is a pair of a place in the sequence
    and the token that should follow there. ``places`` are the places where something is predicted,
    in order, each once. ``which`` (the index in ``places``), ``targets`` and ``rows`` (the row of
    the batch) are of each prediction, in the order of ``which``.

    The last node may be filling, which belongs to no row (see ``rounded``).
    """

    nodes: tuple[Node, ...]
    input_ids: torch.Tensor
    positions: torch.Tensor
    places: torch.Tensor
    which: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor


def fold(input_ids: torch.Tensor, labels: torch.Tensor, attention_mask: torch.Tensor) -> Folded:
    """Return a padded batch as one sequence.

    Args:
        input_ids, labels, attention_mask: (rows, longest); labels are -100 where nothing is
            trained, and stand at the token itself, not at the one before it.
    """
    kept = attention_mask.bool().cpu().numpy()
    ids, wanted = input_ids.cpu().numpy(), labels.cpu().numpy()
    texts = [ids[row][kept[row]] for row in range(len(ids))]
    answers = [wanted[row][kept[row]] for row in range(len(ids))]
    order = sorted(range(len(texts)), key=lambda row: texts[row].tolist())
    nodes: list[Node] = []
    pieces: list[NDArray[np.int64]] = []
    ends: dict[int, tuple[Run, ...]] = {}
    grow = _Tree([texts[row] for row in order])
    for node, members in grow.nodes():
        nodes.append(node)
        first = order[members[0]]
        pieces.append(texts[first][node.depth : node.depth + node.run.length])
        for member in members:
            ends[order[member]] = (*node.path, node.run)
    tokens = sum(map(len, pieces))
    if rounded(tokens) > tokens:
        nodes.append(Node(Run(tokens, rounded(tokens) - tokens), ()))
        pieces.append(np.zeros(rounded(tokens) - tokens, dtype=np.int64))
    places, targets, rows = [], [], []
    for row, answer in enumerate(answers):
        where = np.concatenate([np.arange(run.start, run.start + run.length) for run in ends[row]])
        (trained,) = np.nonzero(answer[1:] != IGNORED)
        places.append(where[trained])
        targets.append(answer[1:][trained])
        rows.append(np.full(len(trained), row))
    positions = [np.arange(node.depth, node.depth + node.run.length) for node in nodes]
    all_places = np.concatenate(places)
    sequence = np.argsort(all_places, kind="stable")
    distinct, which = np.unique(all_places[sequence], return_inverse=True)

    def tensor(values: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(values).to(input_ids.device, torch.long)

    return Folded(
        nodes=tuple(nodes),
        input_ids=tensor(np.concatenate(pieces)),
        positions=tensor(np.concatenate(positions)),
        places=tensor(distinct),
        which=tensor(which),
        targets=tensor(np.concatenate(targets)[sequence]),
        rows=tensor(np.concatenate(rows)[sequence]),
    )


def passes(
    input_ids: torch.Tensor, attention_mask: torch.Tensor, *, limit: int, shared: bool = True
) -> list[list[int]]:
    """Return the rows of a padded batch in groups of at most ``limit`` tokens, or of one row.

    Rows that begin alike come together, and what they share is counted once. Where it is not
    ``shared``, rows of like length come together, and each counts as the longest of its group.
    """
    kept = attention_mask.bool().cpu().numpy()
    if not shared:
        return _padded_passes(kept.sum(1).tolist(), limit=limit)
    ids = input_ids.cpu().numpy()
    if int(kept.sum()) <= limit:
        return [list(range(len(ids)))]
    texts = [ids[row][kept[row]] for row in range(len(ids))]
    order = sorted(range(len(texts)), key=lambda row: texts[row].tolist())
    groups: list[list[int]] = []
    room = 0
    for row in order:
        last = texts[groups[-1][-1]] if groups else texts[row][:0]
        new = len(texts[row]) - _common(last, texts[row])
        if groups and new <= room:
            groups[-1].append(row)
            room -= new
        else:
            groups.append([row])
            room = limit - len(texts[row])
    return groups


def _padded_passes(lengths: list[int], *, limit: int) -> list[list[int]]:
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= limit:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def rounded(tokens: int) -> int:
    """Return a length for a sequence of so many tokens, at most a sixteenth more.

    Matrix libraries prepare code for each shape that they meet, and keep it: folded batches would
    all have different shapes, and the time and memory for them would exceed those of the batches.
    """
    step = 2 ** max(4, tokens.bit_length() - 5)
    return -(-tokens // step) * step


class _Tree:
    """Grows the nodes over texts that are sorted, so that those that begin alike are neighbours."""

    def __init__(self, texts: Sequence[NDArray[np.int64]]) -> None:
        self._texts = texts
        #: how many tokens a text shares with the one before it
        self._shared = [0, *map(_common, texts, texts[1:])]
        self._placed = 0

    def nodes(self) -> Iterator[tuple[Node, range]]:
        """Yield the nodes in the order of the sequence, each with the texts that pass it."""
        yield from self._below(range(len(self._texts)), (), 0)

    def _below(
        self, texts: range, path: tuple[Run, ...], depth: int
    ) -> Iterator[tuple[Node, range]]:
        if len(texts) == 1:
            length = len(self._texts[texts[0]]) - depth
            if length:
                yield self._node(length, path), texts
            return
        shared = min(self._shared[text] for text in texts[1:])
        if self._worth(texts, shared, depth):
            node = self._node(shared - depth, path)
            yield node, texts
            path, depth = (*path, node.run), shared
        start = texts.start
        for text in texts[1:]:
            if self._shared[text] == shared:
                yield from self._below(range(start, text), path, depth)
                start = text
        yield from self._below(range(start, texts.stop), path, depth)

    def _worth(self, texts: range, shared: int, depth: int) -> bool:
        saved = (shared - depth) * (len(texts) - 1)
        rest = max(len(self._texts[text]) for text in texts) - shared
        return saved >= WORTH and shared - depth >= SHARE * rest

    def _node(self, length: int, path: tuple[Run, ...]) -> Node:
        node = Node(Run(self._placed, length), path)
        self._placed += length
        return node


def _common(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    shorter = min(len(one), len(other))
    (different,) = np.nonzero(one[:shorter] != other[:shorter])
    return int(different[0]) if len(different) else shorter
