"""Arelle reads the same numbers, and a number that it reads otherwise is found."""

from collections import Counter
from dataclasses import replace

import pytest
from synthetic_filings import Company, context, inline, member, number, typed, units, write_classic

from fin_qlora.errors import MissingDependencyError
from fin_qlora.xbrl import build
from fin_qlora.xbrl import cross_check as module
from fin_qlora.xbrl.cross_check import compare, cross_check
from fin_qlora.xbrl.places import find_places
from fin_qlora.xbrl.reader import bundles, look, read_bundle


def check(root):
    place = find_places(root)[0][0]
    bundle = bundles(place, look(root, place))[0]
    filing = read_bundle(root, bundle)
    return cross_check(root, bundle, filing), bundle, filing


@pytest.fixture
def arelle():
    pytest.importorskip("arelle", reason="the extra xbrl-check is not installed")


@pytest.mark.usefixtures("arelle")
def test_a_classic_instance_reads_alike(tmp_path):
    write_classic(tmp_path / "a", Company(1))
    outcome, _, filing = check(tmp_path)
    assert outcome.failed == ""
    assert (outcome.ours, outcome.equal, outcome.unexplained) == (len(filing.numbers),) * 2 + (0,)


@pytest.mark.usefixtures("arelle")
@pytest.mark.parametrize("documents", [1, 2])
def test_inline_documents_read_alike_but_for_words(tmp_path, documents):
    header = (
        context("now")
        + context("part", members=member("srt:ProductOrServiceAxis", "inv:ToolsMember"))
        + context("typed", members=typed("inv:LineAxis", "Loan 7"))
        + units()
    )
    facts = [
        number("us-gaap:Assets", "1,234.5", scale="6", decimals="-5", id="a"),
        number("us-gaap:Goodwill", "12", sign="-", context="part", decimals="0", id="b"),
        number("us-gaap:Liabilities", "3", context="typed", decimals="0", id="c"),
        number("us-gaap:NumberOfStores", "two", form="ixt-sec:numwordsen", unit="pure", id="d"),
        number("us-gaap:Deposits", "", form="", xsi_nil="true", id="e"),
    ]
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "main.htm").write_bytes(inline("".join(facts[:3]), header=header))
    (folder / "more.htm").write_bytes(inline("".join(facts[3:])))
    if documents == 1:
        (folder / "more.htm").unlink()
        (folder / "main.htm").write_bytes(inline("".join(facts), header=header))
    outcome, _, _ = check(tmp_path)
    assert outcome.failed == ""
    assert outcome.examples == ()
    assert (outcome.ours, outcome.equal, outcome.unexplained) == (5, 4, 0)
    assert list(outcome.explained.values()) == [1]


@pytest.mark.usefixtures("arelle")
def test_another_number_is_found(tmp_path):
    write_classic(tmp_path / "a", Company(1))
    _, bundle, filing = check(tmp_path)
    wrong = replace(filing.numbers[0], value=filing.numbers[0].value * 1000)
    changed = replace(filing, facts=(wrong, *filing.facts[1:]))
    facts = [fact for fact in filing.facts if fact is not filing.numbers[0]]
    outcome = cross_check(tmp_path, bundle, replace(filing, facts=(wrong, *facts)))
    assert changed
    assert outcome.unexplained == 2
    assert outcome.examples[0].startswith("only ours")


@pytest.mark.usefixtures("arelle")
def test_a_build_reports_the_check(tmp_path):
    write_classic(tmp_path / "f" / "a", Company(1))
    report = build(tmp_path / "f", tmp_path / "out", workers=1, cross_check=True)
    assert report.exit_code == 0
    assert report.details["filings"][0]["cross_check"]["unexplained"] == 0


def test_differences_are_counted():
    def reading(value, name="{x}A"):
        return (name, "1", "2023-12-31", (), "USD", value)

    about = ("{x}B", "1", "2023-12-31", "()", "USD")
    outcome = compare(
        Counter([reading("1"), reading("2"), reading("5", "{x}B")]),
        Counter([reading("1"), reading("3")]),
        Counter([about]),
    )
    assert (outcome.equal, outcome.unexplained, sum(outcome.explained.values())) == (1, 2, 1)


def test_without_arelle_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="xbrl-check"):
        module.require_arelle()


@pytest.mark.usefixtures("arelle")
def test_real_filings_read_alike(real_filings):
    for place in find_places(real_filings)[0][:6]:
        for bundle in bundles(place, look(real_filings, place)):
            outcome = cross_check(real_filings, bundle, read_bundle(real_filings, bundle))
            assert (outcome.failed, outcome.unexplained) == ("", 0)
