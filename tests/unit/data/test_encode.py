"""Encoding refuses a set in which one row would be trained wrong."""

from __future__ import annotations

import pytest

from fin_qlora import tasks
from fin_qlora.data.encode import encode_rows
from fin_qlora.errors import EmptyDatasetError, TruncatedAnswerError

CONTRACT = tasks.get("tfns").contract()
ROWS = [{"text": "up", "label": "positive"}, {"text": "down " * 50, "label": "negative"}]


def test_rows_keep_their_order_and_lengths(tokenizer):
    encoded = encode_rows(ROWS, contract=CONTRACT, tokenizer=tokenizer, max_length=None)
    alone = [CONTRACT.encode(tokenizer, row, row["label"]) for row in ROWS]
    assert encoded.examples == alone
    assert encoded.longest == max(len(e.input_ids) for e in alone)
    assert encoded.trained_tokens == sum(e.answer_tokens for e in alone)


def test_a_row_over_the_limit_is_an_error_not_a_shorter_row(tokenizer):
    with pytest.raises(TruncatedAnswerError, match=r"1 of 2 rows .* row 2 "):
        encode_rows(ROWS, contract=CONTRACT, tokenizer=tokenizer, max_length=60)


def test_no_row_is_an_error(tokenizer):
    with pytest.raises(EmptyDatasetError):
        encode_rows([], contract=CONTRACT, tokenizer=tokenizer, max_length=None)
