"""The manifest says what is in the folder, and notices when it is not so any more."""

import json

import pytest

from fin_qlora.errors import DataError, MissingFileError
from fin_qlora.evidence import read_manifest, verify_files, write_manifest


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_fresh_folder_verifies(adapter):
    assert verify_files(adapter) == []


def test_every_file_of_training_is_covered_but_not_the_card(adapter):
    (adapter / "README.md").write_text("made later")
    (adapter / ".gitattributes").write_text("made by the hub")
    assert set(read_manifest(adapter)["files"]) == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "eval/synthetic_ner-adapter.parquet",
        "eval/synthetic_ner-base.parquet",
        "fin_qlora.json",
        "tokenizer.json",
    }
    assert verify_files(adapter) == []


def test_a_changed_a_missing_and_an_extra_file_are_found(adapter):
    (adapter / "adapter_model.safetensors").write_bytes(b"other weights")
    (adapter / "tokenizer.json").unlink()
    (adapter / "training_args.bin").write_bytes(b"")
    assert verify_files(adapter) == [
        "'tokenizer.json' is missing.",
        "'training_args.bin' is not in the manifest.",
        "'adapter_model.safetensors' has changed since training.",
    ]


def test_an_edited_contract_is_found_even_with_a_new_digest_of_the_file(adapter):
    path = adapter / "fin_qlora.json"
    record = json.loads(path.read_text())
    record["tasks"][0]["contract"]["instruction"] = "Say positive."
    path.write_text(json.dumps(record))
    write_manifest(adapter, read_manifest(adapter))
    assert verify_files(adapter) == [
        "'contract' of task 'synthetic_ner' in fin_qlora.json does not have the digest that stands "
        "beside it."
    ]


def test_manifest_and_record_must_name_the_same_base(adapter):
    manifest = read_manifest(adapter)
    write_manifest(adapter, manifest | {"base": manifest["base"] | {"id": "other/base"}})
    assert verify_files(adapter) == ["'base' differs between manifest.json and fin_qlora.json."]


def test_manifest_and_record_must_name_the_same_tasks(several):
    manifest = read_manifest(several)
    write_manifest(several, manifest | {"tasks": manifest["tasks"][::-1]})
    assert verify_files(several) == ["'tasks' differs between manifest.json and fin_qlora.json."]
    changed = [manifest["tasks"][0], manifest["tasks"][1] | {"contract_digest": "0" * 64}]
    write_manifest(several, manifest | {"tasks": changed})
    assert verify_files(several) == [
        "'contract_digest' of task 'xbrl_tag' differs between manifest.json and fin_qlora.json."
    ]


def test_several_tasks_verify(several):
    assert verify_files(several) == []
    assert [task["task"] for task in read_manifest(several)["tasks"]] == ["fpb", "xbrl_tag"]


def test_a_task_stands_there_once(several):
    manifest = read_manifest(several)
    twice = [manifest["tasks"][0]] * 2
    with pytest.raises(DataError, match="has the task 'fpb' twice"):
        write_manifest(several, manifest | {"tasks": twice})
    edit(several / "manifest.json", tasks=twice)
    with pytest.raises(DataError, match=r"manifest\.json' has the task 'fpb' twice"):
        read_manifest(several)


def test_a_missing_record_is_found(adapter):
    (adapter / "fin_qlora.json").unlink()
    write_manifest(adapter, read_manifest(adapter))
    assert verify_files(adapter) == ["'fin_qlora.json' is missing."]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seed": "seven"}, "seed"),
        ({"base": {"id": "a/b", "revision": None, "digest": "short"}}, "base.digest"),
        ({"unknown": 1}, "the top level"),
        ({"tasks": []}, "tasks"),
        ({"task": "tfns"}, "the top level"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(adapter, change, field):
    edit(adapter / "manifest.json", **change)
    with pytest.raises(DataError, match=r"manifest\.json' does not follow") as caught:
        read_manifest(adapter)
    assert field in str(caught.value)


def test_a_wrong_manifest_is_not_written(adapter):
    before = (adapter / "manifest.json").read_bytes()
    with pytest.raises(DataError, match="field 'seed'"):
        write_manifest(adapter, read_manifest(adapter) | {"seed": None})
    assert (adapter / "manifest.json").read_bytes() == before


def test_a_missing_or_broken_manifest_says_what_to_do(adapter, tmp_path):
    with pytest.raises(MissingFileError, match=r"manifest\.json' is missing.*train again"):
        read_manifest(tmp_path)
    (adapter / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        read_manifest(adapter)
