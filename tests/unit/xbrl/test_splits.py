"""Companies stay together and stay where they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fin_qlora.errors import DataError, UsageError
from fin_qlora.xbrl import BuildSettings
from fin_qlora.xbrl.splits import SplitKey, decide


def keys(*companies, date="2023-12-31", wanted=None):
    return [
        SplitKey(identity=f"{cik}-{n}", group=cik, date=date, wanted=wanted)
        for n, cik in enumerate(companies)
    ]


@given(st.lists(st.integers(1, 10**6), min_size=3, max_size=60, unique=True))
def test_companies_fall_to_every_split_and_never_to_two(numbers):
    filings = keys(*(f"{number:010d}" for number in numbers for _ in range(2)))
    splits = decide(filings, BuildSettings())
    by_company = {}
    for filing in filings:
        by_company.setdefault(filing.group, set()).add(splits[filing.identity])
    assert all(len(found) == 1 for found in by_company.values())
    assert "test" in splits.values()


@given(st.sets(st.integers(1, 10**6), min_size=30, max_size=60))
def test_a_company_more_moves_no_other(numbers):
    filings = keys(*(f"{number:010d}" for number in sorted(numbers)))
    before = decide(filings, BuildSettings())
    after = decide([*filings, *keys("0001234567")], BuildSettings())
    if sum(split == "test" for split in before.values()) > 1 and "validation" in before.values():
        moved = {name for name in before if before[name] != after[name]}
        assert len(moved) <= 1  # the stand-in of a split that was empty


def test_listed_companies_are_the_test():
    filings = keys("0000000001", "0000000002", "0000000003")
    splits = decide(filings, BuildSettings(test_companies=("2",)))
    assert [name for name, split in splits.items() if split == "test"] == ["0000000002-1"]


def test_a_company_in_two_splits_is_an_error():
    filings = [*keys("1", wanted="train"), *keys("1", wanted="test")]
    with pytest.raises(DataError, match="company 1"):
        decide(filings, BuildSettings())


def test_time_and_both():
    filings = [
        SplitKey(identity=f"{cik}-{year}", group=cik, date=f"{year}-12-31")
        for cik in ("0000000001", "0000000002", "0000000003")
        for year in (2021, 2022, 2023)
    ]
    settings = {"test_share": 0.33, "validation_share": 0.0}
    in_time = decide(filings, BuildSettings(split_by="time", **settings))
    assert {name for name, split in in_time.items() if split == "test"} == {
        f"000000000{n}-2023" for n in (1, 2, 3)
    }
    both = decide(
        filings,
        BuildSettings(split_by="company_time", test_companies=("0000000002",), **settings),
    )
    assert both == {
        "0000000001-2021": "train",
        "0000000001-2022": "train",
        "0000000003-2021": "train",
        "0000000003-2022": "train",
        "0000000002-2023": "test",
    }


@pytest.mark.parametrize(
    "odd",
    [
        {"facts": 2},
        {"mode": "fancy"},
        {"split_by": "luck"},
        {"per_filing": {"poem": 3}},
        {"test_share": 0.9, "validation_share": 0.2},
    ],
)
def test_settings_that_cannot_be(odd):
    with pytest.raises(UsageError):
        BuildSettings(**odd)
