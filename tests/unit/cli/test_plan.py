"""`fin-qlora plan` without a GPU, without weights, without a network."""

from __future__ import annotations

import json

import pytest

RECIPE = "classification/tfns-8b-4bit-r4"
STATED = ("--lengths", "60,90,300", "--rows", "9387")
TINY = "classification/demo-sentiment-tiny-4bit-r4"


def test_a_recipe_of_the_paper(fin_qlora):
    said = fin_qlora("plan", RECIPE, *STATED, "--gpu", "RTX A6000", "--gpus", 4, "--format", "json")
    report = json.loads(said.out)
    assert said.code == 0, said.err
    assert report["weights"]["bytes"] == 5_702_540_672
    assert report["adapter"]["parameters"] == 2_359_296
    assert report["batch"]["global_batch_size"] == 64
    assert report["batch"]["steps"] == 4 * 147
    assert report["gpu"]["fits"] is True
    assert report["gpu"]["estimated_seconds"] > 0
    assert report["total"] <= report["gpu"]["usable"]


def test_it_says_what_is_assumed(fin_qlora):
    said = fin_qlora("plan", RECIPE, "--gpu", "L40S")
    assert said.code == 0, said.err
    for words in ("assumed, for neither --data-dir nor --lengths", "which is an assumption"):
        assert words in said.out
    stated = fin_qlora("plan", RECIPE, *STATED, "--gpu", "L40S")
    assert "an estimate, 35% of 362 TFLOP/s" in stated.out


def test_what_does_not_fit_ends_with_exit_code_1(fin_qlora):
    said = fin_qlora("plan", "classification/tfns-70b-4bit-r4", *STATED, "--gpu", "RTX 4090")
    assert said.code == 1
    assert "DOES NOT FIT" in said.out
    assert "with activation_checkpointing: true it takes" in said.out


def test_rows_are_encoded_where_they_are(fin_qlora):
    said = fin_qlora("plan", TINY, "--format", "json")
    report = json.loads(said.out)
    assert said.code == 0, said.err
    assert report["lengths"]["source"] == "the encoded rows"
    assert report["lengths"]["rows"] == report["batch"]["steps"] * 8
    assert report["tokens"] == report["lengths"]["tokens"]


def test_a_base_that_is_not_at_hand_lends_the_tiny_ones_tokenizer(fin_qlora):
    base = "meta-llama/Llama-3.1-8B-Instruct"
    said = fin_qlora("plan", TINY, "--model_name_or_path", base, "--format", "json")
    report = json.loads(said.out)
    assert said.code == 0, said.err
    assert "embedded tiny base" in report["lengths"]["source"]
    assert report["base"] == base


def test_flags_of_the_recipe_change_the_plan(fin_qlora):
    ranks = [
        json.loads(fin_qlora("plan", RECIPE, *STATED, "--lora-r", r, "--format", "json").out)
        for r in (4, 8)
    ]
    parameters = [report["adapter"]["parameters"] for report in ranks]
    assert parameters[1] == 2 * parameters[0]


def test_quiet_is_the_verdict(fin_qlora):
    assert fin_qlora("plan", RECIPE, *STATED, "--gpu", "H100", "--format", "quiet").out == "fits\n"


def test_the_papers_table_1_beside_ours(fin_qlora):
    said = fin_qlora("plan", "--table-1", "--format", "json")
    rows = {(r["base"], r["quantization"]): r for r in json.loads(said.out)["table_1"]}
    assert rows["Llama 3.1 8B", "4bit"]["gib"] == 5.31
    assert rows["Llama 3.1 70B", "4bit"]["paper_gb"] == 37.8
    assert all(
        abs(row["gib"] / row["paper_gb"] - 1) < 0.06 for row in rows.values() if row["paper_gb"]
    )
    assert "GiB" in fin_qlora("plan", "--table-1").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "No recipe is named"),
        ((RECIPE, "--gpu", "Voodoo 2"), "graphics card"),
        ((RECIPE, "--lengths", "60,90"), "P50,P95,MAX"),
        ((RECIPE, "--lengths", "90,60,300"), "do not rise"),
        ((RECIPE, "--lora-rr", "4"), "--lora_r"),
        ((RECIPE, "--table-1"), "takes no recipe"),
        (("classification/nothing",), "There is no recipe"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(fin_qlora, arguments, message):
    said = fin_qlora("plan", *arguments)
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
