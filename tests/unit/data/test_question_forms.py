"""Headlines, entity mentions, tagged numbers, filing questions: rows that are derived."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from fin_qlora import tasks
from fin_qlora.data.forms import find_form, forms_present, read_form
from fin_qlora.data.sources.mentions import spans
from fin_qlora.data.table import read_split, read_splits
from fin_qlora.errors import DataError
from fin_qlora.tasks.headline import QUESTIONS

# --------------------------------------------------------------------------------- headline

HEADER = (
    "Dates\tURL\tNews\tPrice Direction Up\tPrice Direction Constant\tPrice Direction Down\t"
    "Asset Comparision\tPast Information\tFuture Information\tPrice Sentiment\r\n"
)


def headline_file(*lines: str) -> str:
    return HEADER + "".join(f"{line}\r\n" for line in lines)


def headline(write, *lines):
    data = write("headline/gold-dataset-sinha-khandait.csv", headline_file(*lines))
    task = tasks.get("headline")
    return read_form(find_form(task, "pool", data), task, data)


def test_every_flag_becomes_a_question(write):
    reading = headline(
        write,
        '9/9/2019\thttp://x\t"gold, up\n3%"\t1\t0\t0\t0\t1\t0\tpositive',
        "2018-01-30\thttp://y\t gold slips \t0\t0\t1\t1\t1\t0\tnegative",
    )
    assert reading.files[0].rows == 2
    first = reading.rows[:6]
    assert {row["text"] for row in first} == {"gold, up\n3%"}
    assert [row["question"] for row in first] == list(QUESTIONS.values())
    assert [row["label"] for row in first] == ["Yes", "No", "No", "No", "Yes", "No"]
    assert [row["date"] for row in reading.rows[5:7]] == ["9/9/2019", "2018-01-30"]
    assert reading.changed == {"blanks at the ends cut": 1}


def test_two_directions_and_a_wrong_sentiment_are_counted(write):
    reading = headline(
        write,
        "1\tu\tboth ways\t1\t0\t1\t0\t1\t0\tpositive",
        "1\tu\tno way\t0\t0\t0\t0\t1\t0\tneutral",
    )
    assert reading.seen["more than one price direction"] == 1
    assert reading.seen["sentiment that does not follow from the directions"] == 1


def test_a_flag_that_is_neither_is_named(write):
    with pytest.raises(DataError, match="row 1 has '2' in 'Price Direction Up'"):
        headline(write, "1\tu\tx\t2\t0\t0\t0\t1\t0\tpositive")


def test_a_headline_s_questions_stay_together(write):
    lines = [f"1\tu\tgold headline {i}\t{i % 2}\t0\t0\t0\t1\t0\tpositive" for i in range(40)]
    data = write("headline/gold-dataset-sinha-khandait.csv", headline_file(*lines))
    found = read_splits(tasks.get("headline"), data_dir=data)
    assert {split: len(table.rows) for split, table in found.items()} == {"train": 192, "test": 48}
    train, test = ({row["text"] for row in table.rows} for table in found.values())
    assert not train & test


# --------------------------------------------------------------------------------- entities


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("I-PER I-PER O", [(0, 2, "PER")]),
        ("I-PER B-PER O", [(0, 1, "PER"), (1, 2, "PER")]),  # IOB1: B only where two touch
        ("B-PER I-PER B-PER", [(0, 2, "PER"), (2, 3, "PER")]),  # IOB2
        ("I-ORG I-LOC", [(0, 1, "ORG"), (1, 2, "LOC")]),
        ("O O", []),
        ("O I-LOC", [(1, 2, "LOC")]),
        ("I-PER O I-PER", [(0, 1, "PER"), (2, 3, "PER")]),
    ],
)
def test_spans_of_iob1(tags, found):
    assert list(spans(tags.split())) == found


CONLL = """-DOCSTART- -X- O O

SILICON NNP - I-ORG
VALLEY NNP - I-ORG
BANK NNP - I-ORG
lends VBZ - O
the DT - O
Bank NNP - I-ORG
money NN - O

-DOCSTART- -X- O O

Bank NNP - I-ORG
and CC - O
Bank NNP - I-ORG
of IN - O
Paris NNP - I-LOC
or CC - O
Paris NNP - I-PER
in IN - O
May NNP - I-MISC
"""


def test_every_mention_is_asked_once(write):
    data = write("ner/FIN5.txt", CONLL)
    task = tasks.get("ner")
    reading = read_form(find_form(task, "train", data), task, data)
    asked = [(row["document"], row["entity"], row["label"]) for row in reading.rows]
    assert asked == [
        ("1", "SILICON VALLEY BANK", "organization"),
        ("1", "Bank", "organization"),
        ("2", "Bank", "organization"),
    ]
    assert reading.rows[0]["text"] == "SILICON VALLEY BANK lends the Bank money"
    assert reading.dropped == {
        "mention repeated in its sentence": 1,
        "mention with two types in one sentence": 2,
        "mention of a type that is not asked for (MISC)": 1,
    }
    assert reading.files[0].rows == 2


def test_options_are_shuffled_by_the_row_alone(write):
    lines = "".join(f"w{i} NN - I-PER\nx NN - O\n\n" for i in range(200))
    data = write("ner/FIN5.txt", lines)
    task = tasks.get("ner")
    form = find_form(task, "train", data)
    first, again = (read_form(form, task, data).rows for _ in range(2))
    assert first == again
    orders = Counter(row["options"] for row in first)
    assert len(orders) == 6
    assert max(orders.values()) < 60
    instruction, _ = task.contract().render(first[0])
    assert first[0]["options"] in instruction


def test_finlora_s_seventeen_wordings_are_one_question(write):
    asked = "In the input text, what type has 'Smith'.\nOptions: person, location, organization"
    records = [
        {"context": f"Instruction: {asked}{x}\nInput: Smith signs\nAnswer: ", "target": "person"}
        for x in ("", "")
    ]
    data = write("ner/finlora/ner_test.jsonl", records)
    task = tasks.get("ner")
    (form,) = forms_present(task, data)
    reading = read_form(form, task, data)
    assert [(row["text"], row["entity"]) for row in reading.rows] == [("Smith signs", "Smith")]
    assert reading.dropped == {"another wording of the same question": 1}


# ---------------------------------------------------------------------------------- numbers


def test_batched_questions_are_taken_apart(write):
    asked = 'What is best tag for entity "{}" in sentence: "Sold $ 5 or $ 5 of 7 .?"'
    context = (
        "Here is a list of US GAAP tags options: ,Assets,Goodwill. Answer the following 3 "
        + "\n".join(f"{i}. {asked.format(n)}" for i, n in enumerate((5, 5, 7), start=1))
        + "\nOutput US GAAP tags:"
    )
    record = {"context": context, "target": "Assets, Goodwill,Liabilities"}
    data = write("finer/finlora/finer_test_batched.jsonl", [record])
    task = tasks.get("finer")
    reading = read_form(find_form(task, "pool", data), task, data)
    assert [(r["entity"], r["place"], r["label"]) for r in reading.rows] == [
        ("5", "1", "us-gaap:Assets"),
        ("5", "2", "us-gaap:Goodwill"),
        ("7", "1", "us-gaap:Liabilities"),
    ]
    assert reading.rows[0]["text"] == "Sold $ 5 or $ 5 of 7 ."
    assert reading.seen["empty option in the list of tags"] == 1
    write("finer/finlora/finer_test_batched.jsonl", [{**record, "target": "Assets"}])
    with pytest.raises(DataError, match="asks 3 questions and has 1 answers"):
        read_form(find_form(task, "pool", data), task, data)


def fnxl(write, ids: str, numbers: str):
    write("fnxl/labelCount.csv", "0,us-gaap:Zero,1\n1,us-gaap:One,1\n")
    data = write(
        "fnxl/train_sample.csv",
        "sentence,numerals-tags,company,docEndDate,docType,fileName,year,ner_tags,tokens\n"
        f"Paid 7 now,\"{numbers}\",Mine,d,10-K,/x,20,\"{ids}\",\"['Paid', '7', 'now']\"\n",
    )
    task = tasks.get("fnxl")
    return read_form(find_form(task, "train", data), task, data)


def test_fnxl_s_tag_ids_count_from_one(write):
    reading = fnxl(write, "[0, 2, 0]", "{'us-gaap:One': ['7']}")
    assert [(r["entity"], r["label"]) for r in reading.rows] == [("7", "us-gaap:One")]
    assert [file.rows for file in reading.files] == [1, 2]


def test_fnxl_s_columns_must_agree(write):
    assert fnxl(write, "[0, 1, 0]", "{'us-gaap:One': ['7']}").dropped == {
        "number whose two columns disagree": 1
    }
    with pytest.raises(DataError, match="tag id 3; there are 2"):
        fnxl(write, "[0, 3, 0]", "{'us-gaap:One': ['7']}")
    with pytest.raises(DataError, match="no readable 'ner_tags'"):
        fnxl(write, "__import__('os')", "{}")


# ---------------------------------------------------------------------------------- filings


def question(kind: str, number: int, answer: str):
    return {
        "id": f"{kind}{number}",
        "task": kind,
        "segment": "<facts/>",
        "question": f"What is {kind} {number}?",
        "answer": answer,
        "answer_alt": ["1.5"],
        "meta": {"cik": str(number), "filing": f"f{number}", "decimals": -6},
    }


def test_built_questions_go_to_their_tasks(write):
    data = write(
        "train.jsonl",
        [
            question("tag", 1, "us-gaap:Assets"),
            question("value", 2, "150"),
            question("absent", 3, "NOT_REPORTED"),
            question("formula", 4, "us-gaap:A / us-gaap:B"),
            question("formula_calc", 5, "0.9880"),
        ],
    )
    answers = {
        name: [row["label"] for row in read_split(tasks.get(name), "train", data_dir=data).rows]
        for name in (
            "xbrl_tag",
            "xbrl_value",
            "xbrl_formula_construction",
            "xbrl_formula_calculation",
        )
    }
    assert answers == {
        "xbrl_tag": ["us-gaap:Assets"],
        "xbrl_value": ["150", "NOT_REPORTED"],
        "xbrl_formula_construction": ["us-gaap:A / us-gaap:B"],
        "xbrl_formula_calculation": ["0.9880"],
    }
    row = read_split(tasks.get("xbrl_value"), "train", data_dir=data).rows[0]
    assert (row["company"], row["filing"], json.loads(row["alternatives"])) == ("2", "f2", ["1.5"])


def test_facts_go_with_the_row_as_the_segment_does(write):
    row = question("tag", 1, "us-gaap:Assets") | {
        "segment": " <a>1</a>\n<b>itâ€™s</b>",
        "facts": [{"text": "<a>1</a>", "keep": True}, {"text": "<b>itâ€™s</b>", "keep": False}],
    }
    data = write("train.jsonl", [row, question("tag", 2, "us-gaap:Cash")])
    listed, bare = read_split(tasks.get("xbrl_tag"), "train", data_dir=data).rows
    facts = json.loads(listed["facts"])
    assert [fact["keep"] for fact in facts] == [True, False]
    assert listed["text"].splitlines() == [fact["text"] for fact in facts]
    assert bare["facts"] == ""
    for broken in (["<a>1</a>"], [{"text": "<a>1</a>"}], 3):
        write("train.jsonl", [row | {"facts": broken}])
        with pytest.raises(DataError, match=r"row 1 has 'facts' that are not objects"):
            read_split(tasks.get("xbrl_tag"), "train", data_dir=data)


def test_value_questions_in_the_tag_file_are_left_out(write):
    header = "instruction,input,output,year,company,doc_path,context_id\n"
    data = write(
        "xbrl_tags/xbrl_tags_test.csv",
        header
        + 'i,"Question: Which tag? \nAnswer:",us-gaap:Assets,2023,A,a_htm.xml,c-1\n'
        + 'i,"Question: What is the value? \nAnswer:",1500.0,2023,A,a_htm.xml,c-1\n'
        + 'i,"Question: Which one? \nAnswer:",jpm:Own,2023,A,a_htm.xml,c-1\n',
    )
    task = tasks.get("xbrl_tag")
    (form,) = forms_present(task, data)
    reading = read_form(form, task, data)
    assert [row["text"] for row in reading.rows] == ["Which tag?", "Which one?"]
    assert reading.dropped == {"the answer is no tag": 1}
    assert reading.seen["tag outside us-gaap"] == 1


def test_finlora_s_excerpt_and_question_are_taken_out_of_the_prompt(write):
    context = (
        '"You are an assistant.\n\nXBRL file:\n ```xml\n <us-gaap:Assets xmlns:us- >15</> \n\n'
        " ```\n\n   \nExample question: Old?\nExample answer: 1\n   \nQuestion: What is it? \n"
        "   \nAnswer:"
    )
    record = {"context": context, "target": "15.0", "doc_path": "a/a_htm.xml"}
    data = write("xbrl_value/finlora/xbrl_value_test.jsonl", [record])
    row = read_split(tasks.get("xbrl_value"), "test", data_dir=data).rows[0]
    assert row["text"] == "<us-gaap:Assets>15</>"
    assert (row["question"], row["label"], row["filing"]) == ("What is it?", "15", "a/a_htm.xml")


# -------------------------------------------------------------------------------- knowledge


def test_formula_questions_with_and_without_quotation_marks(write):
    lead = "Use formula FCF to answer the question. Answer. Formula: F = O - C, Explanation: O: in."
    data = write(
        "financial_math/finlora/formula_train.jsonl",
        [
            {"context": f'{lead} Question: "How much?"\n. Answer:', "target": "5.0"},
            {"context": f"{lead} Question: And now?. Answer:", "target": "6"},
        ],
    )
    rows = read_split(tasks.get("financial_math"), "train", data_dir=data).rows
    assert [(r["text"], r["label"]) for r in rows] == [("How much?", "5"), ("And now?", "6")]
    assert rows[0]["formula"] == "F = O - C"


def test_a_term_without_an_explanation_is_left_out(write):
    lead = "Explain this XBRL term briefly in one sentence:"
    records = [
        {"context": f"{lead} {term}. Answer:", "target": target}
        for term, target in (("Goodwill", "nan"), ("nan", "nan"), ("Assets", "What is owned."))
    ]
    data = write("xbrl_term/finlora/xbrl_term_train.jsonl", records)
    table = read_split(tasks.get("xbrl_term"), "train", data_dir=data)
    assert [(row["text"], row["label"]) for row in table.rows] == [("Assets", "What is owned.")]
    assert table.dropped == {"answer is missing": 2}
    assert table.file.rows == 3


def test_pages_and_question_of_financebench(write):
    context = "Answer the following question. Question: Any suits?\nDocument Pages Context:\nPage 1"
    record = {"context": f"{context}\n\nAnswer:", "target": "Yes", "url": "u", "pages": [1]}
    data = write("financebench/finlora/financebench_train.jsonl", [record])
    row = read_split(tasks.get("financebench"), "train", data_dir=data).rows[0]
    assert (row["text"], row["question"], row["filing"]) == ("Page 1", "Any suits?", "u")
