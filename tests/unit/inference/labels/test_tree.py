"""What several answers begin with stands in their tree once, and every answer is summed whole."""

from __future__ import annotations

import pytest
import torch

from fin_qlora.inference.labels.tree import LabelTree, totals_of

# 3 stands behind two answers, one of which begins the other; 9 ends all of them
ANSWERS = [[3, 9], [3, 4, 9], [5, 4, 6, 9], [5, 4, 9]]


def test_each_beginning_is_there_once():
    tree = LabelTree.of(ANSWERS)
    assert tree.tokens == (3, 4, 5, 4, 6)
    assert tree.parents == (-1, 0, -1, 2, 3)
    assert tree.depths() == [0, 1, 0, 1, 2]
    assert tree.answers[1] == ((0, 3), (1, 4), (2, 9))
    assert tree.answers[3] == ((0, 5), (3, 4), (4, 9))


def test_a_node_sees_those_above_it_and_itself():
    seen = LabelTree.of(ANSWERS).visible()
    assert [row.nonzero().flatten().tolist() for row in seen] == [
        [0],
        [0, 1],
        [2],
        [2, 3],
        [2, 3, 4],
    ]


def test_totals_are_the_sums_over_each_answer():
    torch.manual_seed(0)
    tree = LabelTree.of(ANSWERS)
    logits = torch.randn(2, 1 + tree.nodes, 10)
    each = logits.log_softmax(-1)
    totals = totals_of(logits.bfloat16().float(), tree)
    for row in range(2):
        for number, pairs in enumerate(tree.answers):
            expected = sum(float(each[row, place, token]) for place, token in pairs)
            assert float(totals[row, number]) == pytest.approx(expected, abs=0.1)
    assert totals_of(logits, tree).dtype == torch.float32


def test_answers_of_one_token_have_no_node():
    tree = LabelTree.of([[3], [4]])
    assert tree.nodes == 0
    assert totals_of(torch.zeros(1, 1, 5), tree).shape == (1, 2)
