"""Every task's prompts and answers keep their token ids under the embedded tokenizer."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from fin_qlora import tasks

_file = Path(__file__).with_name("make_golden.py")
_spec = importlib.util.spec_from_file_location("make_golden", _file)
maker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(maker)
GOLDEN = json.loads(maker.FILE.read_text("utf-8"))


def test_every_task_is_kept():
    assert sorted(GOLDEN) == sorted(task.name for task in tasks.shipped())


@pytest.mark.parametrize("form", maker.FORMS)
@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_ids_are_those_that_were_kept(tokenizer, name, form):
    assert maker.golden(tokenizer, name, form) == GOLDEN[name][form]


@pytest.mark.parametrize("form", maker.FORMS)
@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_kept_ids_say_what_the_task_says(tokenizer, name, form):
    """A file that was made wrong would be kept wrong: it is read back as text."""
    contract = tasks.get(name).contract(form)
    kept = GOLDEN[name][form]
    text = tokenizer.decode(kept["prompt"], clean_up_tokenization_spaces=False)
    assert kept["prompt"][0] == tokenizer.bos_token_id
    assert all(line in text for line in maker.TEXT.splitlines())
    if form == "plain":
        assert text.startswith("<|begin_of_text|>Instruction: ")
        assert text.endswith("\nAnswer:")
    else:
        assert text.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")
    for answer, ids in kept["answers"].items():
        assert contract.decode(tokenizer, ids) == answer
        assert ids[-1] == contract.end_token(tokenizer)
