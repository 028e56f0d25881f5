"""lm-evaluation-harness, asked by our pack, finds what our own evaluation finds."""

import importlib.util
import json
import math
import os
import subprocess
import sys

import pytest
import torch

from fin_qlora import tasks
from fin_qlora.data.table import read_split
from fin_qlora.evaluation.harness import export_pack
from fin_qlora.evaluation.rows import evaluate_rows
from fin_qlora.models.base import load_model, load_tokenizer
from fin_qlora.models.tiny import TINY_ID, tiny_base_path

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="the extra lm-eval is not installed"
)

LABELS, FREE = "synthetic_ner", "xbrl_tag"
ROWS = 40

#: float32 on both sides: what is left is the order of additions.
TOLERANCE = 2e-3

PROGRAM = """
import json, sys
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
base, out, *packs = sys.argv[1:]
model = HFLM(pretrained=base, dtype="float32", device="cpu", batch_size=8)
found = {}
for pack in packs:
    manager = TaskManager(include_path=pack, include_defaults=False)
    result = simple_evaluate(
        model, tasks=["fin_qlora"], task_manager=manager, bootstrap_iters=0, log_samples=True
    )
    found[pack] = {
        name: {
            "figures": result["results"][name],
            "rows": [
                {"target": one["target"], "answers": one["filtered_resps"]}
                for one in sorted(samples, key=lambda one: one["doc_id"])
            ],
        }
        for name, samples in result["samples"].items()
    }
json.dump(found, open(out, "w"), default=str)
"""


@pytest.fixture(scope="module")
def asked(tmp_path_factory, xbrl_questions):
    """What the harness finds: with a pack for the tiny base, and with one for any model."""
    place = tmp_path_factory.mktemp("harness")
    export_pack([LABELS], place / "exact", model=TINY_ID, limit=ROWS)
    export_pack([FREE], place / "exact", model=TINY_ID, data_dir=xbrl_questions)
    export_pack([LABELS], place / "plain", limit=ROWS)
    packs = [str(place / name) for name in ("exact", "plain")]
    environment = os.environ | {"HF_HOME": str(place / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tiny_base_path()), str(place / "out.json"), *packs],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads((place / "out.json").read_text())
    return {name: found[pack] for name, pack in zip(("exact", "plain"), packs, strict=True)}


@pytest.fixture(scope="module")
def base():
    model = load_model(tiny_base_path(), quantization="none").float()
    return model, load_tokenizer(tiny_base_path())


def ours(base, name, data_dir=None):
    task = tasks.get(name)
    rows = read_split(task, "test", data_dir=data_dir).rows[:ROWS]
    return evaluate_rows(*base, task.contract(), rows, task=task)


def likelihoods(rows):
    """Their log-likelihood of every choice, in the order of the labels."""
    return [[float(number) for number, _ in row["answers"]] for row in rows]


def test_labels_have_our_likelihoods_choices_and_accuracy(asked, base):
    theirs, mine = asked["exact"][f"fin_qlora_{LABELS}"], ours(base, LABELS)
    labels = tasks.get(LABELS).label_names
    assert len(theirs["rows"]) == len(mine.rows) == ROWS
    for their, our in zip(likelihoods(theirs["rows"]), mine.rows, strict=True):
        expected = [our["log_likelihoods"][label] for label in labels]
        assert their == pytest.approx(expected, abs=TOLERANCE)
        assert labels[their.index(max(their))] == our["predicted"]
    assert theirs["figures"]["acc,none"] == pytest.approx(mine.scores.accuracy)
    assert len({row["predicted"] for row in mine.rows}) > 1, "one label for all proves little"


def test_without_the_end_token_theirs_lack_its_likelihood_alone(asked, base):
    model, tokenizer = base
    task = tasks.get(LABELS)
    contract = task.contract()
    theirs = likelihoods(asked["plain"][f"fin_qlora_{LABELS}"]["rows"])
    data = read_split(task, "test", data_dir=None).rows[:ROWS]
    mine = ours(base, LABELS).rows
    for row, their, our in list(zip(data, theirs, mine, strict=True))[:8]:
        for label, number in zip(contract.labels, their, strict=True):
            example = contract.encode(tokenizer, row, label)
            with torch.no_grad():
                last = model(torch.tensor([example.input_ids])).logits[0, -2].log_softmax(-1)
            end = float(last[contract.end_token(tokenizer)])
            assert end < -TOLERANCE
            assert number + end == pytest.approx(our["log_likelihoods"][label], abs=TOLERANCE)


def test_free_answers_are_written_letter_by_letter_the_same(asked, base, xbrl_questions):
    theirs, mine = asked["exact"][f"fin_qlora_{FREE}"], ours(base, FREE, xbrl_questions)
    assert [row["answers"][0] for row in theirs["rows"]] == [row["output"] for row in mine.rows]
    equal = sum(row["output"] == row["gold"] for row in mine.rows) / len(mine.rows)
    figure = theirs["figures"]["exact_match,as_written"]
    assert math.isclose(float(figure), equal)
    assert any(row["output"] for row in mine.rows)
