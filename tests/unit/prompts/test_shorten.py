"""What is left out of a text, and that no more is left out than must be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fin_qlora.errors import ContractError
from fin_qlora.prompts.shorten import MARK, shortening

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300)


def search(text, *, limit, facts=(), measure=lambda text: len(text.split())):
    """Run a search; return what it found and how often it measured."""
    going = shortening(text, facts=facts, limit=limit)
    asked, tokens = 0, None
    while True:
        try:
            candidate = next(going) if tokens is None else going.send(tokens)
        except StopIteration as end:
            return end.value, asked
        asked, tokens = asked + 1, measure(candidate)


def words(count: int) -> str:
    return " ".join(f"w{number}" for number in range(count))


def test_the_middle_goes_and_both_ends_stay():
    found, _ = search(words(100), limit=11)
    assert found.text == f"w0 w1 w2 w3 w4 {MARK} w95 w96 w97 w98 w99"
    assert found.removed[0].text == " ".join(f"w{number}" for number in range(5, 95))
    assert found.text[found.removed[0].at :].startswith(MARK)


@pytest.mark.parametrize("limit", range(3, 60))
def test_no_more_is_left_out_than_must_be(limit):
    found, asked = search(words(60), limit=limit)
    assert len(found.text.split()) == limit
    assert asked <= 14


def test_where_a_sentence_ends_nearby_the_cut_is_there():
    text = f"One two three four. five {words(50)} almost. The last line stands whole."
    found, _ = search(text, limit=11)
    assert found.text == f"One two three four. {MARK} The last line stands whole."


@given(text=TEXTS, limit=st.integers(1, 60))
def test_whatever_the_text_the_result_fits_and_only_the_middle_is_gone(text, limit):
    found, _ = search(text, limit=limit, measure=len)
    if found is None:
        return
    assert len(found.text) <= limit
    (gone,) = found.removed
    head, tail = found.text[: gone.at], found.text[gone.at + len(MARK) :]
    squeezed = "".join((head + gone.text + tail).split())
    assert squeezed == "".join(text.split())
    assert head.strip()
    assert tail.strip()


@given(
    flags=st.lists(st.booleans(), min_size=1, max_size=30),
    limit=st.integers(1, 200),
    seed=st.integers(0, 5),
)
def test_distractor_facts_go_first_and_nothing_else_ever(flags, limit, seed):
    facts = [
        {"text": f"<fact n='{number}'>{'9' * (number * seed % 7)}</fact>", "keep": keep}
        for number, keep in enumerate(flags)
    ]
    text = "<context/>\n" + "".join(f"{fact['text']}\n" for fact in facts) + "<end/>"
    found, _ = search(text, limit=limit, facts=facts, measure=len)
    kept = [fact["text"] for fact in facts if fact["keep"]]
    if found is None:
        bare = ["<context/>", *kept, "<end/>"]
        assert len("\n".join(bare)) > limit or all(flags)
        return
    assert len(found.text) <= limit
    assert found.text.startswith("<context/>\n")
    assert found.text.endswith("\n<end/>")
    assert all(fact in found.text for fact in kept)
    assert "\n\n" not in found.text
    gone = [fact["text"] for fact in facts if fact["text"] not in found.text]
    assert len(gone) == found.facts == len(found.removed)
    assert [one.text for one in found.removed] == gone


def test_facts_of_the_middle_go_before_those_of_the_ends():
    facts = [{"text": f"f{number}", "keep": number == 4} for number in range(9)]
    text = "\n".join(fact["text"] for fact in facts)
    found, _ = search(text, limit=4, facts=facts)
    assert found.text.split() == ["f0", "f4", "f7", "f8"]


def test_a_fact_that_is_not_in_the_text_is_an_error():
    with pytest.raises(ContractError, match="Fact 2"):
        search("a b", limit=1, facts=[{"text": "b", "keep": False}, {"text": "a", "keep": False}])


@pytest.mark.parametrize("text", ["", "one", "one two", "短い"])
def test_a_text_without_a_middle_cannot_be_shortened(text):
    assert search(text, limit=0)[0] is None


def test_a_script_without_blanks_is_cut_between_letters():
    found, _ = search("気候の非常事態への対策として", limit=12, measure=len)
    assert found.text == f"気候の {MARK} して"
