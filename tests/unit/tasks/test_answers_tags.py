"""A tag is right or wrong, never by halves; so is a context, and an answer that declines."""

import pytest

from fin_qlora.tasks.answers import (
    INSTRUCTIONS,
    NOT_REPORTED,
    is_not_reported,
    parse_tag,
    score_context,
    score_not_reported,
    score_tag,
)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("us-gaap:AssetsCurrent", "exact"),
        ("Answer: us-gaap:AssetsCurrent", "exact"),
        (" US-GAAP:AssetsCurrent.\n", "exact"),
        ("The tag is us-gaap:AssetsCurrent, as reported.", "exact"),
        ("us-gaap:AssetsCurrent us-gaap:AssetsCurrent", "exact"),
        ("`us-gaap:AssetsCurrent`", "exact"),
        ("AssetsCurrent", "exact"),
        ("us-gaap:Assetscurrent", "wrong"),
        ("us-gaap:AssetsCurrentXYZ", "wrong"),
        ("us-gaap:Assets", "wrong"),
        ("dei:AssetsCurrent", "wrong"),
        ("us-gaap:AssetsCurrent or us-gaap:Assets", "wrong"),
        ("", "none"),
        ("I cannot say which tag it is", "none"),
        ("current assets", "none"),
    ],
)
def test_tags(text, outcome):
    assert score_tag(text, "us-gaap:AssetsCurrent").outcome == outcome


def test_a_missing_prefix_and_several_tags_are_flagged():
    assert score_tag("AssetsCurrent", "us-gaap:AssetsCurrent").flags == ("prefix_missing",)
    assert score_tag("a:B and c:D", "us-gaap:AssetsCurrent").flags == ("several_tags",)
    assert parse_tag("aapl:Foo_Bar-Baz.") == ("aapl", "Foo_Bar-Baz")


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("c3", "exact"),
        ("Answer: c3.", "exact"),
        ("c-3", "wrong"),
        ("c31", "wrong"),
        ("c3 or c4", "wrong"),
        ("abc3", "none"),
        ("the third", "none"),
    ],
)
def test_contexts(text, outcome):
    assert score_context(text, "c3").outcome == outcome


@pytest.mark.parametrize("text", ["NOT_REPORTED", "not reported.", "Answer: Not-Reported"])
def test_declining(text):
    assert is_not_reported(text)
    assert score_not_reported(text).read == NOT_REPORTED


@pytest.mark.parametrize(("text", "outcome"), [("12", "wrong"), ("not", "wrong"), ("", "none")])
def test_not_declining(text, outcome):
    assert score_not_reported(text).outcome == outcome


def test_an_absent_value_is_asked_for_as_any_value_is():
    assert INSTRUCTIONS["absent"] == INSTRUCTIONS["value"]
