"""A long segment loses facts that no answer needs, from the filing to the prompt."""

import json

import pytest

from fin_qlora import tasks
from fin_qlora.data.encode import encode_rows
from fin_qlora.data.prepare import prepare
from fin_qlora.data.table import read_split
from fin_qlora.prompts.shorten import shortening
from fin_qlora.xbrl import BuildSettings, build
from fin_qlora.xbrl.layout import read_segment

FEW = {"tag": 3, "value": 3, "formula": 4, "formula_calc": 2, "context": 2, "absent": 2}
TASKS = (
    "xbrl_tag",
    "xbrl_value",
    "xbrl_formula_construction",
    "xbrl_formula_calculation",
    "xbrl_context",
)


def built(filings, out, **settings):
    build(filings, out, workers=1, settings=BuildSettings(per_filing=FEW, **settings))
    return [
        json.loads(line)
        for split in ("train", "validation", "test")
        for line in (out / f"{split}.jsonl").read_text("utf-8").splitlines()
    ]


def barest(row):
    """Return the segment without all that may go: the first text that the search tries."""
    return next(shortening(row["segment"], facts=row["facts"], limit=1))


@pytest.mark.parametrize("mode", ["clean", "verbatim", "inline_table", "compat"])
def test_facts_stand_in_the_segment_in_their_order(filings, tmp_path, mode):
    for row in built(filings, tmp_path / "out", mode=mode):
        at = 0
        for fact in row["facts"]:
            assert sorted(fact) == ["keep", "text"]
            at = row["segment"].index(fact["text"], at) + len(fact["text"])
        assert len(row["facts"]) == row["meta"]["n_facts"]
        kept = [fact["text"] for fact in row["facts"] if fact["keep"]]
        if mode == "compat" and len(row["facts"]) == 1:
            continue  # the one fact of its context
        assert 0 < len(kept) < len(row["facts"])
        left = barest(row)
        assert all(text in left for text in kept)
        if mode == "compat":
            assert left.splitlines() == kept
        else:
            assert len(read_segment(left)) == len(kept)


def test_what_is_kept_answers_the_question(filings, tmp_path):
    for row in built(filings, tmp_path / "out"):
        meta, lines = row["meta"], read_segment(barest(row))
        asked = [
            line
            for line in lines
            if (line.concept, line.period) == (meta["concept"], meta["context"]["period"])
            and dict(line.dimensions) == meta["context"]["dimensions"]
        ]
        assert len(asked) == (row["task"] != "absent")
        if row["task"] == "value":
            assert format(asked[0].value, "f") == row["answer"]
        elif row["task"] == "context":
            assert asked[0].context_id == row["answer"]
            assert barest(row).count("<context ") == row["segment"].count("<context ") > 1
        elif row["task"] == "absent":
            assert len(lines) == 1
        elif "formula" in meta:
            shown = {(line.concept, line.period) for line in lines}
            operands = meta["formula"]["operands"]
            assert {(one["tag"], one["period"]) for one in operands} <= shown


@pytest.mark.parametrize("name", TASKS)
def test_from_the_filing_to_the_prompt(filings, tmp_path, tokenizer, name):
    built(filings, tmp_path / "out")
    task = tasks.get(name)
    raw = read_split(task, "train", data_dir=tmp_path / "out").rows
    prepare(task, data_dir=tmp_path / "out", out=tmp_path / "splits")
    rows = read_split(task, "train", data_dir=tmp_path / "splits").rows
    assert [row["facts"] for row in rows] == [row["facts"] for row in raw]

    contract = task.contract()
    facts = [json.loads(row["facts"]) for row in rows]
    least = [
        {**row, "text": next(shortening(row["text"], facts=listed, limit=1))}
        for row, listed in zip(rows, facts, strict=True)
    ]
    longest = max(len(contract.prompt(tokenizer, row)) for row in least)
    limit = longest + 40 + contract.answer_room(tokenizer)
    shortened = task.contract(shorten_to=limit)
    encoded = encode_rows(
        rows, contract=shortened, tokenizer=tokenizer, max_length=limit, on_overlong="shorten"
    )
    assert encoded.longest <= limit
    gone_in_all = 0
    for row, listed, one in zip(rows, facts, shortened.fitted(tokenizer, rows), strict=True):
        text = row["text"] if one.text is None else one.text
        assert all(fact["text"] in text for fact in listed if fact["keep"])
        gone = [fact["text"] for fact in listed if fact["text"] not in text]
        assert len(gone) == one.cut_facts == len(one.removed)
        assert row["question"] in tokenizer.decode(one.ids)
        assert read_segment(text)
        gone_in_all += len(gone)
    assert encoded.shortened["facts"] == gone_in_all > 0
