"""The pack that is written: its settings, its rows, and that its text is our tokens."""

import json
import shutil
from dataclasses import replace

import pyarrow.parquet
import pytest
import yaml

from fin_qlora import tasks
from fin_qlora.data.table import read_split
from fin_qlora.errors import (
    AdapterMismatchError,
    ContractError,
    MissingFileError,
    UnknownNameError,
    UsageError,
)
from fin_qlora.evaluation.harness import export_pack
from fin_qlora.evaluation.harness.wording import ForOneModel
from fin_qlora.evidence import write_record
from fin_qlora.models.base import load_tokenizer
from fin_qlora.models.tiny import TINY_ID, tiny_base_path

TASK = "synthetic_ner"


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(tiny_base_path())


@pytest.fixture
def export(tmp_path):
    """Write a pack and return settings and rows of its only task."""

    def run(name=TASK, **options):
        (one,) = export_pack([name], tmp_path / "pack", **{"limit": 5, **options})
        settings = yaml.safe_load(one.path.read_text("utf-8"))
        (path,) = settings["dataset_kwargs"]["data_files"].values()
        return one, settings, pyarrow.parquet.read_table(path).to_pylist()

    return run


@pytest.mark.parametrize("form", ["plain", "chat"])
@pytest.mark.parametrize("shots", [0, 3])
def test_text_for_one_model_becomes_the_ids_of_the_contract(export, tokenizer, form, shots):
    exported, settings, rows = export(model=TINY_ID, form=form, shots=shots)
    assert exported.exact
    task = tasks.get(TASK)
    data = read_split(task, "test", data_dir=None).rows[:5]
    contract = task.contract(form)
    if shots:
        digest = settings["metadata"]["contract_digest"]
        assert digest != contract.digest
        shown = rows[0]["prompt"].count("Answer:" if form == "plain" else "<|im_start|>user")
        assert shown in (shots + 1, 0)
    for row, written in zip(data, rows, strict=True):
        assert written["answer"] == row["label"] == task.label_names[written["gold"]]
        for label, choice in zip(task.label_names, settings["doc_to_choice"], strict=True):
            text = written["prompt"] + settings["target_delimiter"] + choice
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            answer = contract.answer(tokenizer, label)
            assert ids[-len(answer) :] == answer
            if not shots:
                assert ids == contract.encode(tokenizer, row, label).input_ids


def test_settings_ask_one_question_with_all_labels(export):
    _, settings, rows = export()
    task = tasks.get(TASK)
    assert settings["task"] == f"fin_qlora_{TASK}"
    assert settings["output_type"] == "multiple_choice"
    assert settings["doc_to_choice"] == list(task.label_names)
    assert settings["num_fewshot"] == 0
    assert settings["metadata"]["contract_digest"] == task.contract().digest
    assert settings["metadata"]["rows"] == len(rows) == 5
    assert settings["metadata"]["licence"] == task.licence.name
    data = read_split(task, "test", data_dir=None).rows[:5]
    assert [row["prompt"] for row in rows] == [task.contract().prompt_text(row) for row in data]
    assert not any(row["prompt"][-1].isspace() for row in rows)


@pytest.mark.parametrize("model", [None, TINY_ID])
def test_free_answers_are_written_up_to_the_stop(export, xbrl_questions, tokenizer, model):
    _, settings, rows = export("xbrl_tag", data_dir=xbrl_questions, model=model)
    asked = settings["generation_kwargs"]
    contract = tasks.get("xbrl_tag").contract()
    assert settings["output_type"] == "generate_until"
    assert asked["max_gen_toks"] == contract.answer_room(tokenizer)
    assert asked["do_sample"] is False
    assert asked["until"] == ([tokenizer.eos_token] if model else [])
    assert "doc_to_choice" not in settings
    assert [set(row) for row in rows] == 4 * [{"prompt", "answer"}]


def test_an_answer_that_looks_like_a_date_stays_text(export, tmp_path):
    lines = [
        json.dumps({"text": "When?", "question": "On which day?", "label": "2024-12-31"})
        for _ in range(3)
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(lines))
    own = tmp_path / "day.yaml"
    own.write_text(
        "name: day\ntitle: Day\nanswer: text\ninstruction: Say the day.\n"
        "licence: {name: internal}\nfiles: {test: test.jsonl}\n"
        "columns: {text: text, label: label}\n"
    )
    _, _, rows = export(str(own), data_dir=tmp_path)
    assert [row["answer"] for row in rows] == 3 * ["2024-12-31"]


def test_a_tokenizer_that_reads_other_tokens_is_refused(tokenizer, monkeypatch):
    contract = tasks.get(TASK).contract()
    rows = read_split(tasks.get(TASK), "test", data_dir=None).rows[:3]
    assert len(ForOneModel(contract, tokenizer).prompts(rows)) == 3
    monkeypatch.setattr(ForOneModel, "delimiter", "  ")
    with pytest.raises(ContractError, match=r"Row 1 with the ending '  person.*' is read back as"):
        ForOneModel(contract, tokenizer).prompts(rows)


OWN = """
name: {name}
title: Day
answer: text
instruction: Say the day.
licence: {{name: internal}}
files: {{test: test.jsonl}}
columns: {{text: text, label: label}}
"""


@pytest.fixture
def own(tmp_path):
    """Return the file of a task of that name, with rows beside it."""
    (tmp_path / "test.jsonl").write_text('{"text": "When?", "label": "Monday"}\n')

    def run(name, file="own.yaml"):
        (tmp_path / file).write_text(OWN.format(name=name))
        return str(tmp_path / file)

    return run


def test_two_tasks_of_one_name_are_refused(own, tmp_path):
    with pytest.raises(UsageError, match="each task once"):
        export_pack([own("day"), own("day", "again.yaml")], tmp_path / "pack", data_dir=tmp_path)
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize("name", ["../day", "a/b", "a,b", "day*"])
def test_a_name_that_is_no_file_name_is_refused(own, tmp_path, name):
    with pytest.raises(UsageError, match="cannot have a file of its name"):
        export_pack([own(name)], tmp_path / "pack", data_dir=tmp_path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_rows_of_any_split_are_those_that_the_harness_asks(export, split):
    _, settings, rows = export(split=split)
    assert settings["test_split"] == split
    assert list(settings["dataset_kwargs"]["data_files"]) == [split]
    data = read_split(tasks.get(TASK), split, data_dir=None).rows[:5]
    assert [row["answer"] for row in rows] == [row["label"] for row in data]


@pytest.fixture
def adapter(tmp_path):
    """An adapter folder as far as its prompts go: with a shot, in chat form."""
    folder = shutil.copytree(tiny_base_path(), tmp_path / "adapter")
    (folder / "model.safetensors").unlink()
    (folder / "adapter_config.json").write_text("{}")
    task = tasks.get(TASK)
    shot = {"instruction": "Which?", "input": "Ada", "answer": "person"}
    bare = task.contract("chat")
    contract = replace(
        bare, shots=(type(bare).from_dict({**bare.to_dict(), "shots": [shot]}).shots)
    )
    write_record(
        folder,
        {
            "schema": 1,
            "tasks": [
                {
                    "task": TASK,
                    "contract": contract.to_dict(),
                    "contract_digest": contract.digest,
                    "canaries": [],
                }
            ],
            "base": {"id": "desk/base", "revision": None, "digest": "ab" * 32},
            "quantization": "4bit",
        },
    )
    return folder


def test_an_adapter_is_asked_as_it_was_trained(export, adapter):
    _, settings, rows = export(model=str(adapter))
    record = json.loads((adapter / "fin_qlora.json").read_text())
    assert settings["metadata"]["contract_digest"] == record["tasks"][0]["contract_digest"]
    assert all("Ada" in row["prompt"] for row in rows)
    with pytest.raises(UsageError, match="has the shots that it was trained with"):
        export(model=str(adapter), shots=1)
    with pytest.raises(UsageError, match="in the form 'chat'"):
        export(model=str(adapter), form="plain")
    with pytest.raises(
        AdapterMismatchError, match="was trained for synthetic_ner with another prompt"
    ):
        export("synthetic_sentiment", model=str(adapter))


@pytest.mark.parametrize(
    ("names", "options", "error", "says"),
    [
        ([], {}, UsageError, "at least one"),
        ([TASK, TASK], {}, UsageError, "each task once"),
        (["synthetic_nre"], {}, UnknownNameError, "synthetic_ner"),
        (["fpb"], {}, MissingFileError, "needs data files"),
        ([TASK], {"form": "chat"}, UsageError, "--model"),
    ],
)
def test_what_cannot_be_exported_is_refused(tmp_path, names, options, error, says):
    with pytest.raises(error, match=says):
        export_pack(names, tmp_path / "pack", **options)
    assert not (tmp_path / "pack").exists()
