"""What a question asks has one answer, and the segment holds what makes it hard."""

import random
from decimal import Decimal
from fractions import Fraction

import pytest
from synthetic_filings import (
    Company,
    context,
    instance,
    labels,
    member,
    units,
    write_classic,
    write_labels,
)

from fin_qlora.tasks.answers import evaluate, operands, parse_formula
from fin_qlora.xbrl import BuildSettings, read_filing
from fin_qlora.xbrl.examples import examples
from fin_qlora.xbrl.fact_questions import overlap, tag_drafts, value_drafts
from fin_qlora.xbrl.facts import Concept
from fin_qlora.xbrl.index import FilingIndex
from fin_qlora.xbrl.labels import name_in_words
from fin_qlora.xbrl.layout import Layout, read_segment, write_segment
from fin_qlora.xbrl.operands import SYMBOLS
from fin_qlora.xbrl.ratio_questions import fill, periods, ratio_drafts, rounded
from fin_qlora.xbrl.ratios import RATIOS
from fin_qlora.xbrl.reconcile import reconcile
from fin_qlora.xbrl.segments import arrange, choose

SETTINGS = BuildSettings()
YEAR = context("year", start="2023-01-01")
COVER = (
    '<dei:EntityRegistrantName contextRef="year">Invented Inc.</dei:EntityRegistrantName>'
    '<dei:DocumentType contextRef="year">10-K</dei:DocumentType>'
    '<dei:DocumentFiscalYearFocus contextRef="year">2022</dei:DocumentFiscalYearFocus>'
)


def fact(name, value, where="year", decimals="-6", unit="usd"):
    return (
        f'<us-gaap:{name} contextRef="{where}" unitRef="{unit}" decimals="{decimals}">{value}'
        f"</us-gaap:{name}>"
    )


def index_of(tmp_path, body, texts=None, settings=SETTINGS):
    (tmp_path / "a.xml").write_bytes(instance(YEAR + units() + COVER + body))
    if texts:
        (tmp_path / "a_lab.xml").write_bytes(labels(texts))
    return FilingIndex(read_filing(tmp_path), settings)


@pytest.fixture
def index(tmp_path):
    company = Company(0)
    write_classic(tmp_path / "x", company)
    write_labels(tmp_path / "x", company)
    return FilingIndex(read_filing(tmp_path / "x"), SETTINGS)


@pytest.mark.parametrize(
    ("values", "best", "others"),
    [
        ([("19500000000", "-8"), ("19454000000", "-6")], "19454000000", ["19500000000"]),
        ([("5", "INF"), ("5.04", "0")], "5", ["5.04"]),
        ([("7", "0"), ("7", "-3")], "7", []),
        ([("7000", "-3"), ("9000", "-3")], None, None),
        ([("19900000000", "-8"), ("19454000000", "-6")], None, None),
        ([("5", "INF"), ("6", "INF")], None, None),
    ],
)
def test_duplicates_agree_by_their_accuracy_or_are_left_out(tmp_path, values, best, others):
    index = index_of(tmp_path, "".join(fact("Assets", v, decimals=d) for v, d in values))
    known, left_out = reconcile(index.filing.facts)
    if best is None:
        assert (known, left_out["inconsistent duplicates"]) == ([], 1)
    else:
        assert [(one.value, list(one.others)) for one in known] == [
            (Decimal(best), [Decimal(other) for other in others])
        ]


def test_the_rounded_twin_is_shown_and_is_another_right_answer(tmp_path):
    body = fact("Assets", "19500000000", decimals="-8") + fact("Assets", "19454000000")
    rows, _ = examples(index_of(tmp_path, body + fact("Goodwill", "3")), SETTINGS, origin={})
    row = next(row for row in rows if (row["task"], row["answer"]) == ("value", "19454000000"))
    assert row["answer_alt"] == ["19500000000"]
    shown = [line.value for line in read_segment(row["segment"]) if line.concept.endswith("Assets")]
    assert sorted(shown) == [Decimal("19454000000"), Decimal("19500000000")]


def test_the_fiscal_year_is_the_companys_own(tmp_path):
    index = index_of(tmp_path, fact("Revenues", "5000000") + fact("Assets", "1"))
    asked = index.asked(index.by_concept[Concept("us-gaap", "Revenues")][0])
    assert asked[1] == "for the year ended 2023-12-31 (fiscal 2022)"


def test_questions_that_two_facts_would_answer_are_not_asked(tmp_path):
    body = fact("Assets", "5000000") + fact("AssetsNet", "7000000") + fact("Goodwill", "9000000")
    same = {"Assets": "The assets", "AssetsNet": "the Assets", "Goodwill": "The goodwill"}
    index = index_of(tmp_path, body, same)
    asked = [d for d in value_drafts(index, SETTINGS, "value") if not isinstance(d, str)]
    assert [draft.answer for draft in asked] == ["9000000"]
    described = [d for d in tag_drafts(index, SETTINGS) if not isinstance(d, str)]
    by_value = [d.answer for d in described if d.wording.template.startswith("reverse")]
    assert {"us-gaap:Assets", "us-gaap:AssetsNet"} <= set(by_value)


def test_the_least_telling_description_asks_for_a_tag(index):
    described = [d for d in tag_drafts(index, SETTINGS) if not isinstance(d, str)]
    assert {d.wording.template.split("-")[0] for d in described} == {"tag", "reverse"}
    assert overlap(Concept("us-gaap", "AssetsCurrent"), "Total current assets") == 1.0
    assert overlap(Concept("us-gaap", "AssetsCurrent"), "What one owns") == 0.0


def test_negatives_of_the_same_concept_come_first(index):
    target = next(
        one
        for one in index.by_concept[Concept("us-gaap", "Revenues")]
        if not one.key.context.dimensions and str(one.key.context.period) == "2023-01-01/2023-12-31"
    )
    layout = Layout("clean")
    chosen = choose(index, [target], SETTINGS, layout=layout)
    assert chosen[0] is target
    assert len(chosen) == SETTINGS.facts
    same = [one for one in chosen[1:] if one.key.concept == target.key.concept]
    assert same == chosen[1 : 1 + len(same)]
    assert not same[0].key.context.dimensions  # another year before other members
    assert len(same) == 3
    tight = choose(index, [target], BuildSettings(budget=300), layout=layout)
    assert 1 < len(tight) < len(chosen)


def test_a_segment_reads_back_as_it_was_written(index):
    facts = arrange(index.known[:20], SETTINGS, random.Random(1))
    written = write_segment(facts, index.filing.namespaces, mode="clean")
    lines = read_segment(written.text)
    assert [line.value for line in lines] == [one.value for one in facts]
    assert [line.concept for line in lines] == [str(one.key.concept) for one in facts]
    assert [line.period for line in lines] == [str(one.key.context.period) for one in facts]
    assert list(written.context_ids.values()) == [
        f"c{number}" for number in range(1, len(written.context_ids) + 1)
    ]


def test_nothing_but_the_facts_gives_an_answer_away(index):
    settings = BuildSettings(per_filing={"value": 30, "absent": 30, "context": 30})
    rows, _ = examples(index, settings, origin={})
    sizes = {
        task: {row["meta"]["n_facts"] for row in rows if row["task"] == task}
        for task in ("value", "absent")
    }
    assert sizes["value"] == sizes["absent"] == {settings.facts}
    answers = {row["answer"] for row in rows if row["task"] == "context"}
    assert len(answers) > 3  # the busiest context is not always c1


def test_every_operand_has_a_negative_and_every_formula_its_value(index):
    for task in ("formula", "formula_calc"):
        rows, _ = examples(index, BuildSettings(per_filing={task: 100}), origin={})
        assert len(rows) > 20
        for row in rows:
            formula = row["meta"]["formula"]
            lines = read_segment(row["segment"])
            node = parse_formula(formula["expr"])
            values = {}
            for operand in operands(node):
                at = [line for line in lines if line.concept == operand.tag]
                if operand.period:
                    at = [line for line in at if line.period.endswith(operand.period)]
                wanted = {o["period"] for o in formula["operands"] if o["tag"] == operand.tag}
                at = [line for line in at if line.period in wanted and not line.dimensions]
                values[operand] = Fraction(at[0].value)
            exact = evaluate(node, values)
            assert rounded(exact, formula["decimals"]) == Decimal(formula["result"])
            assert rounded(
                evaluate(parse_formula(formula["substituted"]), {}), formula["decimals"]
            ) == Decimal(formula["result"])
            expected = formula["expr"] if task == "formula" else formula["result"]
            assert row["answer"] == expected


def test_two_dates_of_one_tag_are_told_apart(index):
    ratio = next(ratio for ratio in RATIOS if ratio.name == "return_on_assets")
    found = fill(index, ratio, periods(index)[0])
    assert found.expression("fraction") == (
        "us-gaap:NetIncomeLoss / ((us-gaap:Assets@2023-12-31 + us-gaap:Assets@2022-12-31) / 2)"
    )
    assert found.expression("percent").endswith(") * 100")


def test_ratios_that_mean_nothing_are_not_asked(tmp_path):
    tax = fact("IncomeTaxExpenseBenefit", "5000000")
    before = SYMBOLS["PBT"].aliases[0].name
    index = index_of(tmp_path, tax + fact(before, "-9000000"))
    drafts = list(ratio_drafts(index, SETTINGS, "formula"))
    assert "ratio: an operand is not above zero" in drafts
    assert all(isinstance(draft, str) for draft in drafts)


def test_revenue_is_the_one_that_adds_up(tmp_path):
    contracts = "RevenueFromContractWithCustomerExcludingAssessedTax"
    body = (
        fact(contracts, "90000000")
        + fact("Revenues", "100000000")
        + fact("GrossProfit", "40000000")
        + fact("CostOfRevenue", "60000000")
    )
    ratio = next(ratio for ratio in RATIOS if ratio.name == "gross_margin")
    index = index_of(tmp_path, body)
    assert str(fill(index, ratio, periods(index)[0]).operands["REV"].one.key.concept).endswith(
        ":Revenues"
    )


def test_a_tag_with_the_same_amount_is_another_right_answer(tmp_path):
    contracts = "RevenueFromContractWithCustomerExcludingAssessedTax"
    body = fact(contracts, "90000000") + fact("Revenues", "90000000") + fact("GrossProfit", "9")
    settings = BuildSettings(per_filing={"formula": 50})
    rows, _ = examples(index_of(tmp_path, body), settings, origin={})
    row = next(row for row in rows if row["meta"]["formula"]["name"] == "gross_margin")
    assert contracts in row["answer"]
    assert [contracts in other for other in row["answer_alt"]] == [False]


def test_every_ratio_reads_and_names_known_operands():
    assert len({ratio.name for ratio in RATIOS}) == len(RATIOS) >= 29
    for ratio in RATIOS:
        tags = {name: f"us-gaap:{name}" for name in SYMBOLS} | {
            f"{name}_prev": f"us-gaap:{name}@2022-12-31" for name in SYMBOLS
        }
        node = parse_formula(ratio.expression.format_map(tags))
        assert operands(node)
        assert ratio.words.format_map({name: name for name in tags})
        for symbol in ratio.positive:
            assert f"{{{symbol}}}" in ratio.expression


@pytest.mark.parametrize(
    ("value", "decimals", "result"),
    [("0.00005", 4, "0.0001"), ("-0.00005", 4, "-0.0001"), ("1.25", 1, "1.3"), ("2", 2, "2.00")],
)
def test_halves_are_rounded_away_from_zero(value, decimals, result):
    assert str(rounded(Fraction(value), decimals)) == result


def test_odd_units_and_hidden_facts_are_asked_only_when_wanted(tmp_path):
    unit = '<xbrli:unit id="store"><xbrli:measure>inv:Store</xbrli:measure></xbrli:unit>'
    body = unit + fact("NumberOfStores", "7", unit="store", decimals="0") + fact("Assets", "5")
    index = index_of(tmp_path, body)
    assert index.left_out == {"odd unit": 1}
    assert len(index_of(tmp_path, body, settings=BuildSettings(odd_units=True)).known) == 2


def test_members_are_named_by_their_labels(tmp_path):
    axis = "us-gaap:StatementBusinessSegmentsAxis"
    body = context("part", start="2023-01-01", members=member(axis, "inv:NorthMember")) + fact(
        "Revenues", "5000000", where="part"
    )
    index = index_of(tmp_path, body, {"StatementBusinessSegmentsAxis": "Segments [Axis]"})
    assert index.asked(index.known[0])[2] == "Segments is North"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AssetsCurrent", "Assets Current"),
        ("EMEAMember", "EMEA"),
        ("Level3Assets", "Level 3 Assets"),
        ("x", "x"),
    ],
)
def test_names_in_words(name, words):
    assert name_in_words(name) == words
