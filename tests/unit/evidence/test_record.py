"""The record of how an adapter is asked."""

import pytest

from fin_qlora.errors import DataError, MissingFileError
from fin_qlora.evidence import read_record, write_record


def test_it_reads_what_it_wrote(adapter, tmp_path):
    record = read_record(adapter)
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"quantization": "2bit"}, "quantization"),
        ({"tasks": []}, "tasks"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_written(adapter, tmp_path, change, field):
    with pytest.raises(DataError, match=f"field '{field}"):
        write_record(tmp_path, read_record(adapter) | change)
    assert not (tmp_path / "fin_qlora.json").exists()


@pytest.mark.parametrize(
    ("number", "change", "field"),
    [
        (0, {"contract": {"form": "plain"}}, r"tasks\[0\].contract"),
        (0, {"canaries": [{"input": "x"}]}, r"tasks\[0\].canaries\[0\]"),
        (1, {"contract_digest": "short"}, r"tasks\[1\].contract_digest"),
        (1, {"task": "fpb"}, None),
    ],
)
def test_a_wrong_field_of_a_task_is_named(several, tmp_path, number, change, field):
    record = read_record(several)
    record["tasks"][number] |= change
    expected = f"field '{field}" if field else "has the task 'fpb' twice"
    with pytest.raises(DataError, match=expected):
        write_record(tmp_path, record)
    assert not (tmp_path / "fin_qlora.json").exists()


def test_labels_and_free_answers_have_canaries_of_their_own(several, tmp_path):
    record = read_record(several)
    labels, free = record["tasks"]
    assert "adapter_scores" in labels["canaries"][0]
    assert "adapter_log_likelihood" in free["canaries"][0]
    labels["canaries"], free["canaries"] = free["canaries"], labels["canaries"]
    with pytest.raises(DataError, match="canaries"):
        write_record(tmp_path, record)


def test_a_folder_without_record_is_not_one_of_ours(tmp_path):
    with pytest.raises(MissingFileError, match="plain PEFT"):
        read_record(tmp_path)
