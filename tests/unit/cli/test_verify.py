"""`fin-qlora verify` prints findings and exits with 1 when there are some."""

import json

from adapter_folder import base_identity, write_adapter, write_base


def test_a_sound_adapter(fin_qlora, adapter):
    said = fin_qlora("verify", adapter)
    assert said.code == 0
    assert "as it was after training" in said.out
    assert fin_qlora("verify", adapter, "--format", "quiet").out == ""


def test_an_adapter_of_several_tasks(fin_qlora, tmp_path):
    base = write_base(tmp_path / "base")
    folder = write_adapter(
        tmp_path / "several", base=base_identity(base), further=("xbrl_tag", "tfns")
    )
    assert fin_qlora("verify", folder).code == 0
    path = folder / "fin_qlora.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"tasks": record["tasks"][:2]}))
    said = fin_qlora("verify", folder, "--format", "json")
    assert said.code == 1
    assert json.loads(said.out)["findings"] == [
        "'fin_qlora.json' has changed since training.",
        "'tasks' differs between manifest.json and fin_qlora.json.",
    ]


def test_a_changed_adapter(fin_qlora, adapter):
    (adapter / "tokenizer.json").write_text("{ }")
    said = fin_qlora("verify", adapter, "--format", "json")
    assert said.code == 1
    assert json.loads(said.out)["findings"] == ["'tokenizer.json' has changed since training."]
    assert "1 finding" in said.err


def test_no_adapter(fin_qlora, tmp_path):
    said = fin_qlora("verify", tmp_path)
    assert said.code == 3
    assert "manifest.json' is missing" in said.err
