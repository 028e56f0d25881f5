"""`fin-qlora plan` without a GPU, without weights, without a network."""

from __future__ import annotations

import json

import pytest
import torch

RECIPE = "classification/tfns-8b-4bit-r4"
STATED = ("--lengths", "60,90,300", "--rows", "9387")
SHARDED = "classification/ner-70b-4bit-r4-sharded"
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


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (("--accelerate", "gpu-zero3-4"), "DeepSpeed stage 3"),
        (("--accelerate", "gpu-fsdp-4"), "FSDP"),
        (("--deepspeed", "adamw_zero3_bf16", "--gpus", 4), "DeepSpeed stage 3"),
    ],
)
def test_a_base_is_shared_out_as_the_profile_says(fin_qlora, flags, name):
    said = fin_qlora("plan", SHARDED, *STATED, *flags, "--gpu", "RTX 4090", "--format", "json")
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert report["sharding"] == name
    assert report["weights"]["on_one_gpu"] == report["weights"]["bytes"] // 4
    assert report["max_tokens_per_pass"] is None
    assert report["batch"]["global_batch_size"] == 64
    assert not torch.distributed.is_initialized()


def test_what_is_on_is_not_advised(fin_qlora):
    said = fin_qlora("plan", SHARDED, *STATED, "--gpus", 4, "--gpu", "RTX 4090")
    assert said.code == 1
    assert "activation_checkpointing" not in said.out
    assert "--accelerate gpu-zero3-4" in said.out


def test_gpus_are_counted_before_the_profiles(fin_qlora):
    flags = ("--accelerate", "gpu-ddp-4", "--gpus", 2, "--format", "json")
    report = json.loads(fin_qlora("plan", RECIPE, *STATED, *flags).out)
    assert (report["batch"]["gradient_accumulation_steps"], report["sharding"]) == (2, "DDP")


def test_what_is_advised_for_three_gpus_works(fin_qlora):
    said = fin_qlora("plan", RECIPE, *STATED, "--gpus", 3)
    assert said.code == 2
    assert "global_batch_size to 63 with per_device_train_batch_size 7 or" in said.err
    pair = ("--global-batch-size", 63, "--per-device-train-batch-size", 7)
    again = fin_qlora("plan", RECIPE, *STATED, "--gpus", 3, *pair, "--format", "json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["batch"]["gradient_accumulation_steps"] == 3


def test_no_row_is_longer_than_the_recipe_lets_it_be(fin_qlora):
    assumed = json.loads(fin_qlora("plan", RECIPE, "--format", "json").out)["lengths"]
    assert assumed["longest"] == 1024
    assert "none above max_length, 1024" in assumed["source"]
    long = ("--lengths", "80,120,5000")
    said = fin_qlora("plan", RECIPE, *long)
    assert said.code == 2
    assert "max_length is 1024, but --lengths names rows of 5000" in said.err
    cut = fin_qlora("plan", RECIPE, *long, "--on-overlong", "drop", "--format", "json")
    assert json.loads(cut.out)["lengths"]["longest"] == 1024


def test_evaluation_is_counted(fin_qlora):
    def evaluation(recipe: str) -> dict:
        return json.loads(fin_qlora("plan", recipe, *STATED, "--format", "json").out)["evaluation"]

    labels, free = evaluation(RECIPE), evaluation("xbrl/tags_values-8b-4bit-r4")
    assert labels["cache"] == 0 < labels["reading"]
    assert free["cache"] > 0
    assert free["peak"] == free["cache"] + free["reading"]


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
        ((RECIPE, "--accelerate", "gpu-zero"), "accelerate profile"),
        ((RECIPE, "--table-1"), "takes no recipe"),
        (("classification/nothing",), "There is no recipe"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(fin_qlora, arguments, message):
    said = fin_qlora("plan", *arguments)
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
