"""A row is judged by the label that `predict` would give for it."""

from __future__ import annotations

from fin_qlora import tasks
from fin_qlora.evaluation.asking import Answered
from fin_qlora.evaluation.judging import judged_labels
from fin_qlora.inference.adapters.prediction import Prediction
from fin_qlora.inference.calibration import Calibration

CONTRACT = tasks.get("tfns").contract()
FIRST, SECOND, THIRD = CONTRACT.labels


def test_labels_are_those_that_a_calibration_gives():
    logs = {FIRST: -1.0, SECOND: -1.1, THIRD: -4.0}
    found = {"likelihood": {0: Answered(result=logs, seconds=0.0)}}
    tilted = Calibration(
        temperature=1.0,
        bias={FIRST: 0.0, SECOND: 0.5, THIRD: 0.0},
        rows=60,
        before=1.0,
        after=0.9,
    )
    (plain,) = judged_labels(CONTRACT, [SECOND], found)
    (turned,) = judged_labels(CONTRACT, [SECOND], found, calibration=tilted)
    assert (plain["predicted"], plain["outcome"]) == (FIRST, "wrong")
    assert (turned["predicted"], turned["outcome"]) == (SECOND, "exact")
    assert turned["scores"] == Prediction.of(logs, calibration=tilted).scores
    assert turned["log_likelihoods"] == plain["log_likelihoods"] == logs
