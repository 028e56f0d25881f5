"""fin-qlora results: saved rows looked at, judged again and compared, without a model."""

from __future__ import annotations

import json

import pyarrow.parquet
import pytest

from fin_qlora.evaluation.row_file import write_row_file
from fin_qlora.tasks import get


def about(name: str, **more) -> dict:
    chosen = get(name)
    return {
        "task": name,
        "labels": list(chosen.label_names),
        "grammar": chosen.answer,
        "answers": "likelihood" if chosen.label_names else "generate",
        "contract_digest": chosen.contract().digest,
        "data_digest": "ab" * 32,
        "about": {},
        **more,
    }


def labelled(gold: str, predicted: str, number: int, *, output: str | None = None) -> dict:
    labels = get("tfns").label_names
    likely = {label: 0.8 if label == predicted else 0.1 for label in labels}
    return {
        "text": f"news {number}",
        "gold": gold,
        "prompt_digest": "0",
        "predicted": predicted,
        "output": output,
        "scores": likely,
        "log_likelihoods": likely,
        "outcome": "exact" if gold == predicted else "wrong",
        "flags": [],
        "finished": True,
        "seconds": 0.1,
    }


def free(gold: str, output: str, number: int) -> dict:
    score = get("xbrl_value").score(output, {"label": gold})
    return {
        "text": f"facts {number}",
        "question": "How much?",
        "company": f"company {number % 3}",
        "gold": gold,
        "prompt_digest": "0",
        "parsed": score.read,
        "output": output,
        "scores": None,
        "log_likelihoods": None,
        "outcome": score.outcome,
        "flags": list(score.flags),
        "finished": True,
        "seconds": 0.1,
    }


GOLD = ["neutral"] * 6 + ["positive"] * 3 + ["negative"]
BASE = ["neutral"] * 10
TUNED = ["negative", *["neutral"] * 5, *["positive"] * 3, "negative"]


@pytest.fixture
def run(tmp_path):
    """An adapter's folder: a label task and a free one, under base and adapter."""
    folder = tmp_path / "adapter"
    for side, answers, outputs in (
        ("base", BASE, ["150", "1.5 thousand", *["none"] * 7]),
        ("adapter", TUNED, ["15", "1500", *["7"] * 7]),
    ):
        rows = [labelled(*pair, n) for n, pair in enumerate(zip(GOLD, answers, strict=True))]
        write_row_file(folder / "eval" / f"tfns-{side}.parquet", rows, about=about("tfns"))
        golds = ["15", "1500", *["7"] * 7]
        rows = [free(*pair, n) for n, pair in enumerate(zip(golds, outputs, strict=True))]
        place = folder / "eval" / f"xbrl_value-{side}.parquet"
        write_row_file(place, rows, about=about("xbrl_value"))
    return folder


def test_show_prints_intervals_and_baselines(fin_qlora, run):
    said = fin_qlora("results", "show", run)
    assert said.code == 0
    assert "BY CLUSTERS" in said.out
    assert "adapter less base +0.3000" in said.out
    assert "fewer than 20 clusters" in said.out
    found = json.loads(fin_qlora("results", "show", run, "--format", "json").out)
    sides = {(one["task"], one["side"]): one for one in found["tasks"]}
    base = sides["tfns", "base"]
    assert (base["accuracy"], base["majority"], base["invalid"]) == (0.6, 0.6, 0)
    assert base["per_label"]["positive"]["support"] == 3
    assert base["certainty"]["brier"] > 0
    assert sides["xbrl_value", "base"]["n_effective"] == 3
    assert sides["xbrl_value", "base"]["cluster"] == "company or filing"
    assert sides["xbrl_value", "adapter"]["accuracy"] == 1
    against = {one["task"]: one for one in found["against_base"]}
    # four to one, and eight to none; the smaller p counts twice by Holm
    assert against["tfns"]["mcnemar"]["p_value"] == 2 * 6 / 32
    assert against["xbrl_value"]["mcnemar"]["p_value"] == 2 / 2**8
    assert against["xbrl_value"]["p_holm"] == 4 / 2**8


def test_show_of_one_task_tells_its_labels_or_outcomes(fin_qlora, run):
    said = fin_qlora("results", "show", run, "--task", "tfns").out
    assert "tfns adapter" in said
    assert "AS neutral" in said
    assert "expected calibration error" in said
    row = next(line for line in said.splitlines() if line.startswith("neutral "))
    # of the adapter, which comes first: five of six are found, one is called negative
    assert row.split() == ["neutral", "1.0000", "0.8333", "0.9091", "6", "1", "5", "0"]
    said = fin_qlora("results", "show", run / "eval" / "xbrl_value-base.parquet").out
    assert "OUTCOME" in said
    assert ["none", "7"] in [line.split() for line in said.splitlines()]
    assert "MACRO F1" not in said
    assert ["exact_match", "0.0000"] in [line.split() for line in said.splitlines()]
    found = json.loads(fin_qlora("results", "show", run, "--format", "json").out)
    values = next(one for one in found["tasks"] if one["task"] == "xbrl_value")
    assert values["outcomes"]["rounded"] == 0
    assert (values["metrics"], values["unfinished"]) == ({"exact_match": 1.0}, 0)
    said = fin_qlora("results", "show", run, "--format", "quiet").out
    assert said.split() == [f"{one['accuracy']:.4f}" for one in found["tasks"]]


def test_show_of_labels_given_in_both_ways_has_both(fin_qlora, tmp_path):
    rows = [
        {**labelled("neutral", "neutral", n), "output": "It is neutral", "generated": "invalid"}
        for n in range(4)
    ]
    write_row_file(tmp_path / "rows.parquet", rows, about=about("tfns", answers="both"))
    found = json.loads(
        fin_qlora("results", "show", tmp_path / "rows.parquet", "--format", "json").out
    )
    assert [(one["answers"], one["accuracy"], one["invalid"]) for one in found["tasks"]] == [
        ("likelihood", 1.0, 0),
        ("generate", 0.0, 4),
    ]
    assert found["tasks"][1]["certainty"] is None


def test_an_accuracy_of_nothing_is_a_figure(fin_qlora, tmp_path):
    rows = [free("15", "The answer is 15.", n) for n in range(8)]
    write_row_file(tmp_path / "rows.parquet", rows, about=about("xbrl_value"))
    said = fin_qlora("results", "score", tmp_path / "rows.parquet")
    assert said.code == 0
    (line,) = [one.split() for one in said.out.splitlines() if one.startswith("xbrl_value  paper ")]
    assert (line[5], line[-1]) == ("0.0000", "-100.00")


def test_a_scorer_that_counts_no_row_says_why(fin_qlora, tmp_path):
    rows = [free("15", "150", n) for n in range(3)]
    write_row_file(tmp_path / "rows.parquet", rows, about=about("xbrl_value"))
    said = fin_qlora("results", "score", tmp_path / "rows.parquet")
    assert said.code == 0
    assert "xbrl_value, paper: 3 rows make no whole batch of 8" in said.out
    assert "no rule" not in said.out
    assert "strict + starts_with" in said.out, "its other habits can be told"


def test_lists_that_count_by_their_parts_have_no_interval_over_rows(fin_qlora, tmp_path):
    rows = [{**free("15", "", n), "gold": "A,B", "output": "A,C"} for n in range(3)]
    told = about("xbrl_value", task="my_lists", grammar="list")
    write_row_file(tmp_path / "rows.parquet", rows, about=told)
    said = fin_qlora("results", "score", tmp_path / "rows.parquet", "--scorer", "finlora")
    assert "6 of 3  0.5000" in said.out
    options = ("--scorer", "finlora", "--format", "json")
    found = json.loads(fin_qlora("results", "score", tmp_path / "rows.parquet", *options).out)
    assert found["tasks"][0]["scorers"]["finlora"]["intervals"] is None


@pytest.mark.parametrize("command", ["show", "score"])
def test_rows_that_lack_a_column_or_are_none(fin_qlora, tmp_path, command):
    row = labelled("neutral", "neutral", 0)
    for name in ("gold", "predicted"):
        rows = [{key: value for key, value in row.items() if key != name}]
        write_row_file(tmp_path / "rows.parquet", rows, about=about("tfns"))
        said = fin_qlora("results", command, tmp_path / "rows.parquet")
        assert said.code == 3
        assert f"lacks the column {name}" in said.err
    write_row_file(tmp_path / "rows.parquet", [row], about=about("tfns"))
    table = pyarrow.parquet.read_table(tmp_path / "rows.parquet")
    pyarrow.parquet.write_table(table.slice(0, 0), tmp_path / "rows.parquet")
    said = fin_qlora("results", command, tmp_path / "rows.parquet")
    assert (said.code, "has no row" in said.err) == (3, True)


def test_score_has_both_scorers_and_what_each_habit_costs(fin_qlora, run):
    found = json.loads(fin_qlora("results", "score", run, "--format", "json").out)
    sides = {(one["task"], one["side"]): one for one in found["tasks"]}
    values = sides["xbrl_value", "base"]
    assert values["scorers"]["strict"]["accuracy"] == 1 / 9
    assert values["scorers"]["paper"]["accuracy"] == 1 / 8, "150 for 15; the last row is dropped"
    assert values["habits"]["drop_tail"]["accuracy"] == 1 / 8
    assert values["scorers"]["paper"]["intervals"]["n_effective"] == 3
    assert sides["tfns", "adapter"]["habits"] == {}, "labels by likelihood are read alike"
    text = fin_qlora("results", "score", run, "--task", "xbrl_value").out
    assert "strict + starts_with" in text


def test_score_by_one_scorer(fin_qlora, run):
    options = ("--task", "xbrl_value", "--scorer", "paper", "--batch_size", 3)
    found = json.loads(fin_qlora("results", "score", run, *options, "--format", "json").out)
    assert [list(one["scorers"]) for one in found["tasks"]] == [["paper"], ["paper"]]
    assert found["tasks"][0]["scorers"]["paper"]["scored"] == 9
    quiet = fin_qlora("results", "score", run, *options, "--format", "quiet").out
    assert quiet == "1.0000\n0.1111\n", "a line for each side, as the table has them"


def test_what_finlora_leaves_to_chance_is_a_range(fin_qlora, run):
    options = ("--task", "xbrl_value", "--scorer", "finlora")
    said = fin_qlora("results", "score", run / "eval" / "xbrl_value-adapter.parquet", *options)
    # 15 and 1500 are right answers of the file, and both begin where 1500 does
    assert "0.8889 to 1.0000" in said.out


def test_written_labels_are_judged_as_they_were_written(fin_qlora, tmp_path):
    rows = [
        labelled("positive", "neutral", 0, output="It is positive."),
        labelled("neutral", "neutral", 1, output=""),
    ]
    write_row_file(tmp_path / "rows.parquet", rows, about=about("tfns"))
    found = json.loads(
        fin_qlora("results", "score", tmp_path / "rows.parquet", "--format", "json").out
    )
    (task,) = found["tasks"]
    assert task["scorers"]["strict"]["accuracy"] == 0
    assert task["scorers"]["paper"]["accuracy"] == 1
    assert {name: one["accuracy"] for name, one in task["habits"].items()} == {
        "substring": 0.5,
        "unreadable_is_neutral": 0.5,
    }


def test_diff_lists_what_flipped(fin_qlora, run, tmp_path):
    files = [run / "eval" / f"tfns-{side}.parquet" for side in ("base", "adapter")]
    out = tmp_path / "flips.parquet"
    found = json.loads(
        fin_qlora("results", "diff", *files, "--first", 2, "--out", out, "--format", "json").out
    )
    (task,) = found["tasks"]
    assert (task["wrong_to_right"], task["right_to_wrong"], task["gain"]) == (4, 1, 0.3)
    assert task["mcnemar"]["p_value"] == task["p_holm"] == 0.375
    assert [(one["row"], one["flip"]) for one in task["flips"]] == [
        (1, "right to wrong"),
        *((row, "wrong to right") for row in (7, 8, 9, 10)),
    ]
    assert task["few_clusters"]
    assert pyarrow.parquet.read_table(out).num_rows == 5
    text = fin_qlora("results", "diff", *files, "--first", 2).out
    assert "to wrong" in text
    assert "and 3 further rows" in text
    listed = [line.split()[:3] for line in text.splitlines()]
    assert ["7", "to", "right"] in listed, "rows are numbered alike, in JSON and for a person"
    assert "* fewer than 20 clusters" in text


def test_diff_of_one_folder_is_adapter_against_base(fin_qlora, run):
    said = fin_qlora("results", "diff", run)
    assert "P BY HOLM" in said.out
    found = json.loads(fin_qlora("results", "diff", run, "--format", "json").out)
    assert [one["task"] for one in found["tasks"]] == ["tfns", "xbrl_value"]
    assert found["tasks"][1]["wrong_to_right"] == 8
    by_paper = json.loads(
        fin_qlora("results", "diff", run, "--scorer", "paper", "--format", "json").out
    )
    assert by_paper["tasks"][1]["wrong_to_right"] == 8
    assert by_paper["tasks"][1]["accuracy_a"] == 1 / 9, "150 for 15, and 1.5 thousand is none"


def test_diff_tells_which_tasks_only_one_run_has(fin_qlora, run, tmp_path):
    (run / "eval" / "xbrl_value-base.parquet").unlink()
    said = fin_qlora("results", "diff", run)
    assert said.code == 0
    assert "Not compared, since only one run has them: xbrl_value" in said.err
    found = json.loads(fin_qlora("results", "diff", run, "--format", "json").out)
    assert found["not_compared"] == ["xbrl_value"]


def test_what_cannot_be_compared(fin_qlora, run, tmp_path):
    one = run / "eval" / "tfns-base.parquet"
    short = tmp_path / "short.parquet"
    write_row_file(short, [labelled("neutral", "neutral", 0)], about=about("tfns"))
    said = fin_qlora("results", "diff", one, short)
    assert said.code == 3
    assert "9 of 10 are only in the first" in said.err
    said = fin_qlora("results", "diff", one, run / "eval" / "xbrl_value-base.parquet")
    assert said.code == 3
    assert "no task in common" in said.err
    said = fin_qlora("results", "diff", short)
    assert said.code == 3
    assert "both base and adapter" in said.err
    said = fin_qlora("results", "diff", run, "--out", tmp_path / "x.csv")
    assert said.code == 2
    said = fin_qlora("results", "show", run, "--task", "fpb")
    assert said.code == 2
    said = fin_qlora("results", "show", tmp_path / "nothing")
    assert said.code == 3


def test_paper_has_no_rule_for_labels_of_ones_own(fin_qlora, tmp_path):
    rows = [{**labelled("neutral", "neutral", 0), "gold": "dovish", "predicted": "dovish"}]
    rows[0] |= {"scores": None, "log_likelihoods": None}
    told = about("tfns", task="rates", labels=["dovish", "hawkish"])
    write_row_file(tmp_path / "rows.parquet", rows, about=told)
    said = fin_qlora("results", "score", tmp_path / "rows.parquet")
    assert (said.code, "no rule" in said.out) == (0, True)
    said = fin_qlora("results", "score", tmp_path / "rows.parquet", "--scorer", "paper")
    assert said.code == 2
    assert "no rule for the labels dovish, hawkish" in said.err
