"""`fin-qlora verify` prints findings and exits with 1 when there are some."""

import json


def test_a_sound_adapter(fin_qlora, adapter):
    said = fin_qlora("verify", adapter)
    assert said.code == 0
    assert "as it was after training" in said.out
    assert fin_qlora("verify", adapter, "--format", "quiet").out == ""


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
