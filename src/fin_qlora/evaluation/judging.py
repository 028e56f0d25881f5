"""What a model gave for each row, judged: columns of the per-row results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..inference.adapters.prediction import Prediction
from ..inference.calibration import Calibration
from ..inference.generation import Generated
from ..prompts import PromptContract
from ..tasks import Task
from ..tasks.answers import Score
from .answers import ScoredAnswer
from .asking import Answered
from .metrics import INVALID

#: What a row says that was not asked, since it is longer than the model reads.
TOO_LONG = "too long"

#: Name of a question -> place of a row -> its answer; rows that were not asked are missing.
Found = Mapping[str, Mapping[int, Answered]]


def asked_places(found: Found) -> Collection[int]:
    """Return the places of the rows that were asked."""
    return next(iter(found.values())).keys()


def judged_labels(
    contract: PromptContract,
    gold: Sequence[str],
    found: Found,
    *,
    calibration: Calibration | None = None,
) -> list[dict[str, Any]]:
    """Return each row's label by likelihood, as written, or both, beside the right one."""
    likely, written = found.get("likelihood"), found.get("generate")
    results: list[dict[str, Any]] = []
    for place, right in enumerate(gold):
        asked = place in asked_places(found)
        logs = likely[place].result if likely is not None and asked else None
        output = written[place].result if written is not None and asked else None
        spoken = _read(contract, output)
        said = Prediction.of(logs, calibration=calibration) if logs else None
        predicted = said.label if said else INVALID if likely else spoken
        row: dict[str, Any] = {
            "predicted": predicted,
            **({"generated": spoken} if likely is not None and written is not None else {}),
            "output": output.text if output else None,
            "scores": said.scores if said else None,
            "log_likelihoods": logs,
            "outcome": "exact"
            if predicted == right
            else "none"
            if predicted == INVALID
            else "wrong",
            "flags": [] if asked else [TOO_LONG],
            "finished": output.finished if output else None,
        }
        results.append(row)
    return results


def _read(contract: PromptContract, output: Generated | None) -> str:
    """Return the label that was written, to the letter, or ``invalid``."""
    return output.text if output is not None and output.text in contract.labels else INVALID


def judged_answers(
    task: Task, rows: Sequence[Mapping[str, str]], found: Mapping[int, Answered]
) -> tuple[list[ScoredAnswer], list[dict[str, Any]]]:
    """Return each row's free answer as it is scored, and as its columns."""
    scored: list[ScoredAnswer] = []
    results: list[dict[str, Any]] = []
    for place, row in enumerate(rows):
        output: Generated | None = found[place].result if place in found else None
        score = task.score(output.text, row) if output else Score("none", flags=(TOO_LONG,))
        scored.append(
            ScoredAnswer(
                gold=row["label"],
                output=output.text if output else "",
                finished=output.finished if output else True,
                score=score,
            )
        )
        results.append(
            {
                "parsed": score.read,
                "output": output.text if output else None,
                "scores": None,
                "log_likelihoods": None,
                "outcome": score.outcome,
                "flags": list(score.flags),
                "finished": output.finished if output else None,
            }
        )
    return scored, results
