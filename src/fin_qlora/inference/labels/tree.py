"""The answers of a task as a tree, so that what several begin with is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class LabelTree:
    """The tokens of all answers without their last ones, each beginning of an answer once.

    Something is predicted at every *place*: place 0 is the prompt's last token, place k + 1 is
    node k of the tree.

    Attributes:
        tokens: the token of each node.
        parents: the node before each, or -1 behind the prompt. Parents come before their children.
        answers: of each answer, the (place, token) pairs that it is made of.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    answers: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, answers: Sequence[Sequence[int]]) -> LabelTree:
        """Build the tree of answers, their end token included."""
        known: dict[tuple[int, int], int] = {}
        tokens: list[int] = []
        parents: list[int] = []
        pairs: list[tuple[tuple[int, int], ...]] = []
        for answer in answers:
            node, mine = -1, []
            for place, token in enumerate(answer):
                mine.append((node + 1, token))
                if place + 1 == len(answer):
                    break
                if (node, token) not in known:
                    known[node, token] = len(tokens)
                    tokens.append(token)
                    parents.append(node)
                node = known[node, token]
            pairs.append(tuple(mine))
        return cls(tokens=tuple(tokens), parents=tuple(parents), answers=tuple(pairs))

    @property
    def nodes(self) -> int:
        """Return how many tokens stand behind the prompt."""
        return len(self.tokens)

    def depths(self) -> list[int]:
        """Return how many nodes are before each node."""
        found: list[int] = []
        for parent in self.parents:
            found.append(0 if parent < 0 else found[parent] + 1)
        return found

    def visible(self) -> torch.Tensor:
        """Return a bool tensor (nodes, nodes), true where the first is below or at the second."""
        seen = torch.eye(self.nodes, dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen


def totals_of(logits: torch.Tensor, tree: LabelTree) -> torch.Tensor:
    """Return the summed natural-log probability of each answer, (rows, answers) in float32.

    Args:
        logits: of every place, (rows, places, vocabulary).
    """
    logits = logits.float()
    pairs = [pair for answer in tree.answers for pair in answer]
    owners = [number for number, answer in enumerate(tree.answers) for _ in answer]
    device = logits.device
    places = torch.tensor([place for place, _ in pairs], device=device)
    tokens = torch.tensor([token for _, token in pairs], device=device)
    each = logits[:, places, tokens] - logits.logsumexp(-1)[:, places]
    totals = each.new_zeros(len(logits), len(tree.answers))
    return totals.index_add(1, torch.tensor(owners, device=device), each)
