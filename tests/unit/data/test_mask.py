"""What is shown of a row is exactly what is trained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fin_qlora import tasks
from fin_qlora.data.mask import mask_row
from fin_qlora.prompts import PromptContract

ROW = {"text": "Zürich “株” 🙂 rose.\nAnd fell.", "label": "neutral"}


@pytest.mark.parametrize("form", ["plain", "chat"])
def test_the_pieces_are_the_ids_in_order(tokenizer, form):
    contract = tasks.get("tfns").contract(form)
    shown = mask_row(contract, tokenizer, ROW, number=3)
    example = contract.encode(tokenizer, ROW, "neutral")
    assert [token for piece in shown.pieces for token in piece.ids] == example.input_ids
    trained = [
        token for piece in shown.pieces if piece.kind in ("answer", "end") for token in piece.ids
    ]
    assert trained == [label for label in example.labels if label >= 0]
    assert [piece.kind for piece in shown.pieces].count("end") == 1
    assert shown.pieces[0].kind == "begin"
    assert shown.pieces[-1].kind == "end"
    assert (shown.tokens, shown.trained_tokens) == (len(example.input_ids), len(trained))
    text = "".join(piece.text for piece in shown.pieces)
    assert ROW["text"] in text
    assert "\ufffd" not in text
    control = {piece.text for piece in shown.pieces if piece.kind == "control"}
    assert control == (set() if form == "plain" else {
        "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
    })  # fmt: skip


@pytest.mark.parametrize("form", ["plain", "chat"])
def test_what_was_cut_stands_where_it_was_cut(tokenizer, form):
    contract = replace(tasks.get("tfns").contract(form), shorten_to=120)
    row = {"text": " ".join(f"word{n}" for n in range(90)), "label": "positive"}
    shown = mask_row(contract, tokenizer, row, number=1)
    (at,) = [place for place, piece in enumerate(shown.pieces) if piece.kind == "cut"]
    cut = shown.pieces[at].text
    before = "".join(piece.text for piece in shown.pieces[:at]).rstrip()
    after = "".join(piece.text for piece in shown.pieces[at + 1 :]).lstrip()
    assert after.startswith("[...]")
    first, last = int(cut.split()[0][4:]), int(cut.split()[-1][4:])
    assert before.endswith(f"word{first - 1}")
    assert after.startswith(f"[...] word{last + 1} ")
    assert shown.cut_tokens > 0
    assert shown.pieces[at].ids == ()


def test_dropped_facts_are_shown_each_in_its_place(tokenizer):
    facts = [{"text": f"<f{n}>1</f{n}>", "keep": n in (0, 5)} for n in range(6)]
    row = {
        "text": "\n".join(fact["text"] for fact in facts),
        "label": "1",
        "facts": facts,
    }
    contract = PromptContract(instruction="?", grammar="number", shorten_to=75, answer_tokens=8)
    shown = mask_row(contract, tokenizer, row, number=1)
    whole = "".join(piece.text for piece in shown.pieces)
    places = [whole.index(fact["text"]) for fact in facts]
    assert places == sorted(places)
    cut = [piece.text for piece in shown.pieces if piece.kind == "cut"]
    assert len(cut) == shown.cut_facts > 0
    assert set(cut) <= {fact["text"] for fact in facts[1:5]}
