"""`fin-qlora tasks`: the list, and the pack for another tool."""

import json

import yaml


def test_a_pack_is_written_and_named(fin_qlora, tmp_path):
    out = tmp_path / "pack"
    said = fin_qlora(
        "tasks", "export-harness", "synthetic_ner", "--out", out, "--limit", 3, "--format=json"
    )
    assert said.code == 0, said.err
    (one,) = json.loads(said.out)["tasks"]
    assert one["name"] == "fin_qlora_synthetic_ner"
    assert (one["rows"], one["exact"]) == (3, False)
    assert yaml.safe_load((out / "fin_qlora_synthetic_ner.yaml").read_text())["task"] == one["name"]


def test_who_exports_rows_that_forbid_commercial_use_is_told(fin_qlora, tmp_path):
    (tmp_path / "test.csv").write_text("text,label\nProfit rose,positive\nLoss,negative\n")
    said = fin_qlora(
        "tasks", "export-harness", "fpb", "--out", tmp_path / "pack", "--data-dir", tmp_path
    )
    assert said.code == 0, said.err
    assert "CC-BY-NC-SA-3.0 forbids commercial use" in said.err


def test_the_list_names_every_task(fin_qlora):
    from fin_qlora.tasks import names

    said = fin_qlora("tasks", "ls", "--format", "quiet")
    assert said.out.split() == list(names())
