"""The rules that change text, and the keys by which two texts are the same."""

from __future__ import annotations

from collections import Counter

import pytest

from fin_qlora.data.cleaning import cleaned, count_oddities, loosened, normalised, repaired


@pytest.mark.parametrize(
    ("broken", "right"),
    [
        ("Xmas â€“ Kantar", "Xmas – Kantar"),
        ("itâ€™s", "it’s"),
        ("caf\u00c3\u00a9", "café"),
        ("\u00c3\u0192\u00c2\u00a9", "é"),  # broken twice
        ("quote â€\x9d", "quote ”"),
        ("\u00c2\u00a326", "£26"),
    ],
)
def test_utf_8_read_as_windows_1252_is_put_right(broken, right):
    assert repaired(broken) == right


@pytest.mark.parametrize(
    "text", ["Müller", "é…", "São Paulo – €5", "naïve façade", "1 \ufffd-year high", "Ångström"]
)
def test_right_text_is_left_alone(text):
    assert repaired(text) == text


def test_each_change_is_counted_once():
    changed: Counter[str] = Counter()
    assert cleaned(" itâ€™s ", changed=changed) == "it’s"
    assert cleaned("fine", changed=changed) == "fine"
    assert changed == {"mojibake repaired": 1, "blanks at the ends cut": 1}


def test_oddities_are_counted_and_left():
    seen: Counter[str] = Counter()
    count_oddities("a  b\nc\ufffd\u00a0d", seen=seen)
    assert set(seen) == {
        "line break inside the text",
        "replacement character U+FFFD",
        "no-break space U+00A0",
        "double blank",
        "not only ASCII",
    }


def test_keys():
    assert normalised("Up  3% https://t.co/x") == normalised("up 3%")
    assert normalised("Up 3%") != normalised("Up 3")
    assert loosened("Up, 3%!") == loosened("up 3")
    assert loosened("5.7 %") != loosened("57 %")
