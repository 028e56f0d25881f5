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
        ({"contract": {"form": "plain"}}, "contract"),
        ({"canaries": [{"input": "x"}]}, r"canaries\[0\]"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_written(adapter, tmp_path, change, field):
    with pytest.raises(DataError, match=f"field '{field}"):
        write_record(tmp_path, read_record(adapter) | change)
    assert not (tmp_path / "fin_qlora.json").exists()


def test_a_folder_without_record_is_not_one_of_ours(tmp_path):
    with pytest.raises(MissingFileError, match="plain PEFT"):
        read_record(tmp_path)
