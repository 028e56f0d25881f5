"""The audit finds what was put there: repeats, contradictions, leaks by row and by group."""

from __future__ import annotations

from fin_qlora import tasks
from fin_qlora.data.audit import audit_part, audit_task, overlap
from fin_qlora.data.prepare import prepare

TFNS = tasks.get("tfns")


def rows(*pairs):
    return [{"text": text, "label": label} for text, label in pairs]


def test_repeats_on_three_levels_and_contradictions():
    found = audit_part(
        TFNS,
        "train",
        rows(
            ("Up 3%", "positive"),
            ("Up 3%", "positive"),  # to the letter
            ("up  3% https://t.co/x", "positive"),  # without link, case, blanks
            ("Up, 3!", "neutral"),  # the words alone
            ("torn", "neutral"),
            ("Torn", "negative"),
        ),
    )
    assert (found.exact_repeats, found.normalised_repeats, found.loose_repeats) == (1, 3, 4)
    assert found.contradictory == 2
    assert (found.majority, found.majority_share) == ("positive", 0.5)
    assert found.effective == 5


def test_the_effective_number_counts_units_and_not_wordings():
    asked = [
        {"text": f"wording {i}", "question": f"wording {i}", "fact": "one", "label": "5"}
        for i in range(5)
    ]
    assert audit_part(tasks.get("xbrl_value"), "test", asked).effective == 1


def test_overlap_by_row_by_label_and_by_group():
    train = rows(("Same one", "neutral"), ("Near, one!", "positive"), ("other", "neutral"))
    test = rows(("same ONE", "positive"), ("near one", "positive"), ("new", "neutral"))
    found = overlap(TFNS, seen=("train", train), held_out=("test", test))
    assert (found.exact, found.normalised, found.other_label) == (0, 1, 1)
    assert found.groups == {"text": 2}
    assert found.found


def test_a_shared_company_is_a_leak():
    def asked(number, company):
        return {"text": f"t{number}", "question": "?", "label": "1", "company": company}

    task = tasks.get("xbrl_value")
    shared = overlap(
        task, seen=("train", [asked(1, "A")]), held_out=("test", [asked(2, "A"), asked(3, "B")])
    )
    apart = overlap(task, seen=("train", [asked(1, "A")]), held_out=("test", [asked(2, "B")]))
    assert (shared.groups["company"], shared.found) == (1, True)
    assert not apart.found


def test_raw_files_leak_and_what_is_prepared_from_them_does_not(write, tmp_path):
    lines = "".join(f"train row {i},{i % 3}\r\n" for i in range(9))
    write("raw/tfns/sent_train.csv", "text,label\r\n" + lines + "Shared https://a.b,1\r\n")
    write("raw/tfns/sent_valid.csv", "text,label\r\nshared,2\r\ntest,0\r\n")
    raw = audit_task(TFNS, tmp_path / "raw")
    assert raw is not None
    assert raw.leaks
    assert raw.to_dict()["leaks"] is True
    prepare(TFNS, data_dir=tmp_path / "raw", out=tmp_path / "out")
    clean = audit_task(TFNS, tmp_path / "out")
    assert clean is not None
    assert (clean.leaks, clean.prepared) == (False, True)


def test_a_reference_file_that_is_in_the_train_split_is_told(write):
    lines = [f"Sentence {i} .@neutral" for i in range(20)]
    write("fpb/Sentences_50Agree.txt", "\r\n".join(lines))
    asked = "Instruction: ?\nInput: {}\nAnswer: "
    records = [{"context": asked.format(f"Sentence {i} ."), "target": "neutral"} for i in range(20)]
    data = write("fpb/finlora/fpb_test.jsonl", records)
    found = audit_task(tasks.get("fpb"), data)
    assert found is not None
    assert not found.leaks
    assert "15 of 20 rows of fpb_test.jsonl are in the train split" in found.notes[0]


def test_published_question_files_share_their_companies(write):
    head = "instruction,input,output,year,company,doc_path,context_id\n"
    line = 'i,"Question: {} \nAnswer:",1 / 2,2023,{},{}_htm.xml,c-1\n'
    write("xbrl_formula/formula_calculation_train.csv", head + line.format("a?", "AAPL", "a-2022"))
    data = write(
        "xbrl_formula/formula_calculation_test.csv", head + line.format("b?", "AAPL", "a-2023")
    )
    found = audit_task(tasks.get("xbrl_formula_calculation"), data)
    assert found is not None
    assert found.leaks
    assert found.overlaps[0].groups == {"company": 1, "filing": 0}


def test_a_folder_without_rows_of_the_task(tmp_path):
    assert audit_task(TFNS, tmp_path) is None


def test_files_that_do_not_say_their_task_are_taken_for_it_only_by_name(write):
    data = write("train.jsonl", [{"text": "a", "label": "neutral"}])
    write("test.jsonl", [{"text": "A", "label": "neutral"}])
    assert audit_task(TFNS, data, named=False) is None
    found = audit_task(TFNS, data)
    assert found is not None
    assert found.leaks
