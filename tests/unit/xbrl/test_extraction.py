"""Facts come out of every kind of filing as they went in."""

import io
import json
import zipfile
from decimal import Decimal

import pytest
from synthetic_filings import (
    context,
    inline,
    instance,
    labels,
    member,
    number,
    said,
    typed,
    units,
)

from fin_qlora.errors import DataError, EmptyDatasetError
from fin_qlora.xbrl import read_filing

CONTEXTS = (
    context("now")
    + context("year", start="2023-01-01")
    + context("part", members=member("srt:ProductOrServiceAxis", "inv:ToolsMember"))
    + context("typed", members=typed("inv:LineAxis", "Loan 7"))
    + context("scene", scenario=member("srt:RangeAxis", "srt:MaximumMember"))
)


def read(tmp_path, **files):
    folder = tmp_path / "filing"
    folder.mkdir(parents=True)
    for name, content in files.items():
        stem, suffix = name.rsplit("_", 1)
        (folder / f"{stem}.{suffix}").write_bytes(content)
    return read_filing(folder)


def printed(tmp_path, *facts, **more):
    """The numbers of an inline document, by concept."""
    document = inline("".join(facts), header=CONTEXTS + units())
    filing = read(tmp_path, main_htm=document, **more)
    return filing, {str(fact.key.concept): fact for fact in filing.numbers}


def test_a_classic_instance(tmp_path):
    facts = (
        '<us-gaap:Assets contextRef="now" unitRef="usd" decimals="-6" id="a">-12000000'
        "</us-gaap:Assets>"
        '<us-gaap:EarningsPerShareBasic contextRef="year" unitRef="usdPerShare" decimals="2"> 6.13 '
        "</us-gaap:EarningsPerShareBasic>"
        '<us-gaap:Goodwill contextRef="now" unitRef="usd" xsi:nil="true"/>'
        '<dei:DocumentType contextRef="year">10-K</dei:DocumentType>'
        '<us-gaap:PolicyTextBlock contextRef="year">long</us-gaap:PolicyTextBlock>'
    )
    filing = read(tmp_path, inv_xml=instance(CONTEXTS + units() + facts))
    assets, earnings, goodwill, form, policy = filing.facts
    assert (str(assets.key.concept), assets.value) == ("us-gaap:Assets", Decimal(-12000000))
    assert (assets.decimals, assets.fact_id, assets.context_id) == (-6, "a", "now")
    assert (earnings.value, earnings.key.unit) == (Decimal("6.13"), "USD/shares")
    assert str(earnings.key.context.period) == "2023-01-01/2023-12-31"
    assert goodwill.nil
    assert goodwill.value is None
    assert (form.text, form.numeric) == ("10-K", False)
    assert policy.text is None
    assert filing.schema == "inv-20231231.xsd"


@pytest.mark.parametrize(
    "namespace",
    [
        "http://xbrl.us/us-gaap/2009-01-31",
        "http://fasb.org/us-gaap/2011-01-31",
        "http://fasb.org/us-gaap/2024",
    ],
)
def test_the_standard_prefix_follows_the_namespace_and_not_the_file(tmp_path, namespace):
    fact = '<g:Assets contextRef="now" unitRef="usd" precision="3">1230</g:Assets>'
    filing = read(tmp_path, inv_xml=instance(CONTEXTS + units() + fact, g=namespace))
    assert str(filing.facts[0].key.concept) == "us-gaap:Assets"
    assert filing.facts[0].decimals == -1  # three digits of 1230


@pytest.mark.parametrize(
    ("text", "attributes", "value"),
    [
        ("1,234.5", {"scale": "6", "decimals": "-5"}, "1234500000"),
        ("8,468.8", {"scale": "6"}, "8468800000"),
        ("12", {"sign": "-", "scale": "3"}, "-12000"),
        ("21.5", {"scale": "-2"}, "0.215"),
        ("1.234,5", {"form": "ixt:num-comma-decimal"}, "1234.5"),
        ("—", {"form": "ixt:fixed-zero"}, "0"),
        ("—", {"form": "ixt:zerodash"}, "0"),
        ("no", {"form": "ixt-sec:numwordsen"}, "0"),
        ("Thirteen", {"form": "ixt-sec:numwordsen"}, "13"),
        ("two hundred and fifty", {"form": "ixt-sec:numwordsen"}, "250"),
        ("1234", {"form": ""}, "1234"),
        ("<span>1</span>,<b>000</b>", {}, "1000"),
    ],
)
def test_printed_numbers(tmp_path, text, attributes, value):
    _, facts = printed(tmp_path, number("us-gaap:Assets", text, **attributes))
    assert facts["us-gaap:Assets"].value == Decimal(value)


@pytest.mark.parametrize(
    ("text", "attributes", "reason"),
    [
        ("1.2.3", {}, "does not fit its format"),
        ("12 apples", {}, "does not fit its format"),
        ("12", {"form": "ixt:numunitdecimal"}, "format numunitdecimal is not read"),
        ("12", {"form": "unknown:num-dot-decimal"}, "is not read"),
        ("-12", {"form": ""}, "a printed sign"),
        ("12", {"scale": "999999999"}, "a scale beyond 30"),
        ("12", {"scale": "six"}, "not a whole number"),
        ("12", {"sign": "+"}, "a sign attribute"),
        ("1" * 61, {"form": ""}, "more than 60 digits"),
        ("12", {"context": "gone"}, "context that is not there"),
        ("12", {"unit": "gone"}, "unit that is not there"),
        ("12", {"target": "other"}, "another target document"),
        ("twelve teen", {"form": "ixt-sec:numwordsen"}, "does not fit its format"),
    ],
)
def test_what_cannot_be_read_is_counted_and_never_guessed(tmp_path, text, attributes, reason):
    filing, facts = printed(
        tmp_path,
        number("us-gaap:Assets", text, **attributes),
        number("us-gaap:Liabilities", "1"),
    )
    assert list(facts) == ["us-gaap:Liabilities"]
    assert sum(count for why, count in filing.rejected.items() if reason in why) == 1


def test_nested_hidden_excluded_and_nil(tmp_path):
    nested = number("us-gaap:Assets", number("us-gaap:AssetsNet", "1,500", scale="3"), scale="3")
    hidden = f"<ix:header><ix:hidden>{number('us-gaap:Goodwill', '7')}</ix:hidden></ix:header>"
    empty = number("us-gaap:Liabilities", "", form="ixt:nocontent", xsi_nil="true")
    _, facts = printed(tmp_path, nested, hidden, empty)
    assert facts["us-gaap:Assets"].value == facts["us-gaap:AssetsNet"].value == 1_500_000
    assert facts["us-gaap:Goodwill"].hidden
    assert not facts["us-gaap:Assets"].hidden
    assert facts["us-gaap:Liabilities"].nil


def test_text_that_is_continued_and_excluded(tmp_path):
    body = (
        said(
            "dei:EntityRegistrantName",
            "Invented <ix:exclude>page 3 </ix:exclude>Hold",
            continuedAt="x",
        )
        + '<p>between</p><ix:continuation id="x" continuedAt="y">ings</ix:continuation>'
        '<ix:continuation id="y" continuedAt="x"> Inc.</ix:continuation>'
    )
    filing = read(tmp_path, main_htm=inline(body, header=CONTEXTS + units()))
    assert filing.facts[0].text == "Invented Holdings Inc."
    assert filing.rejected == {"continuation that leads nowhere": 1}  # x, y, x again


def test_members_of_segment_and_scenario(tmp_path):
    _, facts = printed(
        tmp_path,
        number("us-gaap:Assets", "1", context="part"),
        number("us-gaap:Liabilities", "1", context="typed"),
        number("us-gaap:Goodwill", "1", context="scene"),
    )
    found = {
        name: [(str(d.axis), d.member, d.typed) for d in fact.key.context.dimensions]
        for name, fact in facts.items()
    }
    assert found == {
        "us-gaap:Assets": [("srt:ProductOrServiceAxis", "inv:ToolsMember", False)],
        "us-gaap:Liabilities": [("inv:LineAxis", "Loan 7", True)],
        "us-gaap:Goodwill": [("srt:RangeAxis", "srt:MaximumMember", False)],
    }


def test_several_inline_documents_are_one_filing(tmp_path):
    main = inline(said("dei:DocumentType", "10-K", continuedAt="c"), header=CONTEXTS + units())
    exhibit = inline(
        number("us-gaap:Assets", "5") + '<ix:continuation id="c">/A</ix:continuation>',
        schema="",
    )
    filing = read(tmp_path, main_htm=main, exhibit13_htm=exhibit, picture_htm=b"<html>no</html>")
    assert [document.name for document in filing.documents] == ["exhibit13.htm", "main.htm"]
    assert {fact.text or fact.value for fact in filing.facts} == {"10-K/A", Decimal(5)}


def test_the_extraction_of_the_sec_is_taken_first_and_says_the_same(tmp_path):
    attributes = {"decimals": "-6", "scale": "6"}
    facts = [
        number("us-gaap:Assets", "1,234", **attributes),
        number("us-gaap:Revenues", "900", context="year", sign="-", **attributes),
        number("us-gaap:Goodwill", "—", form="ixt:fixed-zero", context="part", **attributes),
        number("us-gaap:Liabilities", "3.5", context="typed", **attributes),
    ]
    same = "".join(
        f'<{name} contextRef="{where}" unitRef="usd" decimals="-6">{value}</{name}>'
        for name, where, value in (
            ("us-gaap:Assets", "now", "1234000000"),
            ("us-gaap:Revenues", "year", "-900000000"),
            ("us-gaap:Goodwill", "part", "0"),
            ("us-gaap:Liabilities", "typed", "3500000"),
        )
    )
    document = inline("".join(facts), header=CONTEXTS + units())
    extracted = instance(CONTEXTS + units() + same)
    own = read(tmp_path / "alone", inv_htm=document)
    both = read(tmp_path / "both", inv_htm=document, inv_htm_xml=extracted)
    assert [document.kind for document in both.documents] == ["extracted"]
    assert own.documents[0].kind == "inline"

    def numbers(filing):
        return {(fact.key, fact.value, fact.decimals) for fact in filing.numbers}

    assert numbers(own) == numbers(both)


def test_a_zip_holds_a_filing_with_its_labels(tmp_path):
    fact = '<us-gaap:Assets contextRef="now" unitRef="usd" decimals="0">5</us-gaap:Assets>'
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inv-20231231.xml", instance(CONTEXTS + units() + fact))
        archive.writestr("inv-20231231_lab.xml", labels({"Assets": "Total [Member]"}))
        archive.writestr("exhibit31.htm", b"<!DOCTYPE html><html><p>not XBRL<br></html>")
    file = tmp_path / "0000001000-24-000007-xbrl.zip"
    file.write_bytes(packed.getvalue())
    filing = read_filing(file)
    assert filing.accession == "0000001000-24-000007"
    assert filing.labels["us-gaap:Assets"] == {"label": "Total"}
    assert filing.facts[0].value == 5


def test_a_line_before_the_declaration_and_a_byte_order_mark_are_forgiven(tmp_path):
    fact = '<us-gaap:Assets contextRef="now" unitRef="usd">5</us-gaap:Assets>'
    document = instance(CONTEXTS + units() + fact)
    for name, start in (("lines", b"\r\n\n"), ("mark", b"\xef\xbb\xbf")):
        assert len(read(tmp_path / name, inv_xml=start + document).facts) == 1


def test_metalinks_bring_what_the_linkbase_does_not(tmp_path):
    fact = '<us-gaap:Assets contextRef="now" unitRef="usd">5</us-gaap:Assets>'
    roles = {"label": "Other", "documentation": "All that is owned."}
    links = {
        "instance": {"a.htm": {"tag": {"us-gaap_Assets": {"lang": {"en-us": {"role": roles}}}}}}
    }
    files = {
        "inv_xml": instance(CONTEXTS + units() + fact),
        "inv-20231231_lab_xml": labels({"Assets": "Total assets"}),
        "MetaLinks_json": json.dumps(links).encode(),
    }
    assert read(tmp_path / "a", **files).labels["us-gaap:Assets"] == {
        "label": "Total assets",
        "documentation": "All that is owned.",
    }
    files["MetaLinks_json"] = b'{"instance": '
    with pytest.raises(DataError, match=r"MetaLinks\.json is not JSON"):
        read(tmp_path / "b", **files)


def test_text_blocks_are_read_when_asked_for(tmp_path):
    note = '<us-gaap:PolicyTextBlock contextRef="year">All of it</us-gaap:PolicyTextBlock>'
    (tmp_path / "a.xml").write_bytes(instance(CONTEXTS + note))
    assert read_filing(tmp_path).facts[0].text is None
    assert read_filing(tmp_path, text_blocks=True).facts[0].text == "All of it"


@pytest.mark.parametrize(
    ("period", "said"),
    [
        ("<xbrli:instant>2023-12-31T00:00:00</xbrli:instant>", "2023-12-30"),
        ("<xbrli:instant>2023-12-31T24:00:00</xbrli:instant>", "2023-12-31"),
        ("<xbrli:forever/>", "forever"),
    ],
)
def test_periods_of_other_forms(tmp_path, period, said):
    odd = context("odd").replace("<xbrli:instant>2023-12-31</xbrli:instant>", period)
    fact = '<us-gaap:Assets contextRef="odd" unitRef="usd">5</us-gaap:Assets>'
    filing = read(tmp_path, inv_xml=instance(odd + units() + fact))
    assert str(filing.facts[0].key.context.period) == said


def test_a_folder_without_xbrl_or_with_two_filings(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyDatasetError, match="holds no XBRL"):
        read_filing(tmp_path / "empty")
    two = {f"{name}_xml": instance(CONTEXTS, schema=f"{name}.xsd") for name in ("a", "b")}
    with pytest.raises(DataError, match="holds 2 filings"):
        read(tmp_path, **two)
