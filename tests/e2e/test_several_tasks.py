"""One adapter for tasks whose answers are written and tasks whose answers are labels."""

from __future__ import annotations

import json

from fin_qlora import load_adapter


def test_a_recipe_of_ones_own_trains_both_kinds_in_one_adapter(
    fin_qlora, tmp_path, small_base, xbrl_questions
):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "# Tags and made-up entities.\n"
        "extends: xbrl/tiny-4bit-r4\n"
        "tasks: [xbrl_tag, synthetic_ner]\n"
        f"model_name_or_path: {small_base}\n"
        "max_length: 512\nmax_steps: 3\nwarmup_steps: 0\nevaluation_rows: 4\nlogging_steps: 1\n",
        encoding="utf-8",
    )
    out = tmp_path / "run"
    done = fin_qlora(
        *("train", recipe, "--data-dir", xbrl_questions, "--output-dir", out, "--format", "json")
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "-m fin_qlora.recipes.xbrl" in done.stderr
    result = json.loads(done.stdout)
    assert result["adapter"] == str(out / "adapter")
    tag, entity = result["evaluation"]["xbrl_tag"], result["evaluation"]["synthetic_ner"]
    assert tag["rows"] == entity["rows"] == 4
    assert sum(tag["adapter"]["outcomes"].values()) == 4
    assert 0 <= entity["adapter"]["weighted_f1"] <= 1
    manifest = json.loads((out / "adapter" / "manifest.json").read_text("utf-8"))
    configuration = manifest["configuration"]
    assert (configuration["evaluation_rows"], configuration["global_batch_size"]) == (4, 8)
    dropped = {one["task"]: one["data"]["dropped"] for one in manifest["tasks"]}
    assert dropped["synthetic_ner"]["beyond evaluation_rows=4"] == 296

    adapter = load_adapter(out / "adapter")
    assert sorted(adapter.tasks) == ["synthetic_ner", "xbrl_tag"]
    (label,) = adapter.predict(
        [{"text": "A. Smith signs.", "entity": "A. Smith"}], task="synthetic_ner"
    )
    assert label.label in ("person", "organization", "location")
    verified = fin_qlora("verify", out / "adapter")
    assert verified.returncode == 0, verified.stderr
