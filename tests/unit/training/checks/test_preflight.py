"""Rows that are too long, and worked examples: what is done about them is counted and told."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from fin_qlora import tasks
from fin_qlora.errors import (
    ContractError,
    MissingFileError,
    TruncatedAnswerError,
    UnknownLabelError,
    UsageError,
)
from fin_qlora.models.tiny import TINY_ID
from fin_qlora.training.checks.preflight import run_preflight

TASK = tasks.get("tfns")
WORDS = {"0": "fell", "1": "rose", "2": "held"}


@pytest.fixture
def data_dir(tmp_path):
    folder = tmp_path / "tfns"
    folder.mkdir()
    for name, offset in (("sent_train", 0), ("sent_valid", 500)):
        lines = [
            f"{'very ' * (90 if n == 7 else 1)}{WORDS[str(n % 3)]} {n + offset},{n % 3}"
            for n in range(30)
        ]
        text = "\n".join(["text,label", *lines])
        (folder / f"{name}.csv").write_text(f"{text}\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def check(data_dir, small_base):
    def run(contract=None, **changes):
        settings = {
            "base": str(small_base),
            "base_revision": None,
            "data_dir": data_dir,
            "max_length": 90,
            "synthetic_seed": 0,
        }
        return run_preflight([(TASK, contract or TASK.contract())], **(settings | changes))

    return run


def test_a_long_row_is_an_error_by_default(check):
    with pytest.raises(TruncatedAnswerError, match="max_length=90"):
        check()


def test_dropped_rows_are_left_out_of_both_splits_and_counted(check):
    (checked,) = check(on_overlong="drop").tasks
    assert len(checked.train.rows) == len(checked.encoded.examples) == 29
    assert len(checked.held_out.rows) == len(checked.encoded_held_out.examples) == 29
    assert checked.train.dropped["longer than 90 tokens"] == 1
    assert checked.report()["evaluation"]["dropped"]["longer than 90 tokens"] == 1
    assert checked.contract == TASK.contract()


def test_a_label_whose_rows_are_all_dropped_is_refused(check, data_dir):
    path = data_dir / "tfns" / "sent_train.csv"
    path.write_text(path.read_text("utf-8").replace("rose", "very " * 90 + "rose"), "utf-8")
    with pytest.raises(UnknownLabelError, match=r"positive.*left out: longer than 90 tokens"):
        check(on_overlong="drop")


def test_an_answer_that_could_never_be_written_is_refused(xbrl_questions, tmp_path):
    task = tasks.get("xbrl_tag")
    settings = {"base": TINY_ID, "base_revision": None, "synthetic_seed": 0}
    settings |= {"max_length": None, "data_dir": tmp_path}
    for split in ("train", "test"):
        text = (xbrl_questions / f"{split}.jsonl").read_text("utf-8")
        (tmp_path / f"{split}.jsonl").write_text(text, "utf-8")
    run_preflight([(task, task.contract())], **settings)
    changed = text.replace('"answer": "us-gaap:Item4"', f'"answer": "us-gaap:{"Item" * 60}"', 1)
    assert changed != text
    (tmp_path / "test.jsonl").write_text(changed, "utf-8")
    with pytest.raises(TruncatedAnswerError, match=r"Row 1 of the evaluation rows .*may have \d+"):
        run_preflight([(task, task.contract())], **settings)


def test_shortened_rows_are_counted_and_the_adapter_will_shorten_alike(check):
    (checked,) = check(on_overlong="shorten").tasks
    assert checked.contract == replace(TASK.contract(), shorten_to=90)
    assert checked.encoded.longest <= 90
    shortened = checked.report()["shortened"]
    assert shortened["train"]["rows"] == shortened["evaluation"]["rows"] == 1
    assert shortened["train"]["tokens"] > 20
    assert len(checked.train.rows) == 30
    with pytest.raises(UsageError, match="without max_length"):
        check(on_overlong="shorten", max_length=None)


def test_shots_come_from_train_and_are_not_trained_on(check):
    (checked,) = check(on_overlong="drop", max_length=400, shots=3).tasks
    assert {shot.answer for shot in checked.contract.shots} == set(TASK.label_names)
    trained = {row["text"] for row in checked.train.rows}
    held_out = {row["text"] for row in checked.held_out.rows}
    drawn = {shot.input for shot in checked.contract.shots}
    assert not drawn & (trained | held_out)
    assert checked.train.dropped["is a shot in the prompt"] == 3
    assert checked.report()["shots"] == 3
    (again,) = check(max_length=None, shots=3).tasks
    (other,) = check(max_length=None, shots=3, shots_seed=1).tasks
    assert again.contract == checked.contract != other.contract


@pytest.mark.parametrize(
    ("stops", "says"), [([4], "does not stop there"), ([1, 5], "padding token")]
)
def test_a_base_that_stops_elsewhere_or_at_padding_is_refused(
    check, small_base, tmp_path, stops, says
):
    base = tmp_path / "base"
    shutil.copytree(small_base, base)
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}), "utf-8")
    with pytest.raises(ContractError, match=says):
        check(max_length=None, base=str(base))


def test_a_label_that_the_tokenizer_cannot_write_is_refused(check, tokenizer, monkeypatch):
    import copy

    from tokenizers import normalizers

    from fin_qlora.training.checks import preflight

    small = copy.deepcopy(tokenizer)
    small.backend_tokenizer.normalizer = normalizers.Lowercase()
    monkeypatch.setattr(preflight, "load_tokenizer", lambda folder: small)
    contract = replace(TASK.contract(), labels=(*TASK.label_names, "Mixed"))
    with pytest.raises(ContractError, match="cannot write the label 'Mixed'"):
        check(contract, max_length=None)


def test_the_evaluation_is_limited_and_what_is_left_out_is_not_trained_on(check):
    (checked,) = check(max_length=None, evaluation_rows=7).tasks
    assert len(checked.held_out.rows) == len(checked.encoded_held_out.examples) == 7
    assert checked.held_out.dropped == {"beyond evaluation_rows=7": 23}
    encoded = TASK.contract().encode
    for row, example in zip(checked.held_out.rows, checked.encoded_held_out.examples, strict=True):
        ids = encoded(check(max_length=None).tokenizer, row, row["label"]).input_ids
        assert example.input_ids == ids
    (whole,) = check(max_length=None, evaluation_rows=30).tasks
    assert len(whole.held_out.rows) == 30


def test_a_base_without_weights_is_enough_for_the_plan(check, small_base, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(small_base, base, ignore=shutil.ignore_patterns("*.safetensors"))
    checked = check(max_length=None, base=str(base), weights=False)
    assert checked.base.digest is None
    assert checked.report()["base"]["digest"] is None
    assert checked.positions == 512
    with pytest.raises(MissingFileError, match="safetensors"):
        check(max_length=None, base=str(base))
    # where the weights are at hand, the plan has their digest
    assert len(check(max_length=None, weights=False).base.digest) == 64


def test_several_tasks_are_one_data_set_that_names_them(small_base):
    both = [tasks.get("synthetic_sentiment"), tasks.get("synthetic_ner")]
    checked = run_preflight(
        [(task, task.contract()) for task in both],
        base=str(small_base),
        base_revision=None,
        data_dir=None,
        max_length=None,
        synthetic_seed=0,
    )
    columns = checked.training_columns()
    assert {len(column) for column in columns.values()} == {checked.rows}
    names = columns["task"].to_pylist()
    assert names == ["synthetic_sentiment"] * 2400 + ["synthetic_ner"] * 2400
    last = checked.tasks[1].encoded.examples[-1]
    assert columns["input_ids"][-1].as_py() == last.input_ids
    assert columns["labels"][-1].as_py() == last.labels
    assert (
        "task"
        not in run_preflight(
            [(both[0], both[0].contract())],
            base=str(small_base),
            base_revision=None,
            data_dir=None,
            max_length=None,
            synthetic_seed=0,
        ).training_columns()
    )
