"""Rows of another file than the published one are no result on the published data set."""

from __future__ import annotations

import pytest

from fin_qlora.evaluation.published import as_published
from fin_qlora.tasks import get

TASK = get("fiqa_sa")
FILE = next(
    file for form in TASK.source.forms for file in form.files if file.sha256 and file.records
)
OTHER = "ab" * 32


@pytest.mark.parametrize(
    ("file", "same"),
    [
        ((FILE.path, FILE.sha256, FILE.records), True),
        ((FILE.path, OTHER, FILE.records), False),
        ((FILE.path, FILE.sha256, FILE.records + 1), False),
        (("prepared/test.jsonl", OTHER, 7), True),
    ],
)
def test_digest_and_records_tell_another_file(file, same):
    assert as_published(TASK, [file]) == same
    assert as_published(TASK, [("prepared/test.jsonl", OTHER, 7), file]) == same
