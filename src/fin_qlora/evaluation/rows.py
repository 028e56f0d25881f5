"""Scoring a model over rows, with every row kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import EmptyDatasetError, UsageError
from ..files import sha256_json
from ..inference.calibration import Calibration
from ..inference.reading.batches import Progress
from ..prompts import PromptContract
from ..tasks import Task
from .abstention import abstention
from .agreement import agreement
from .answers import AnswerScores, answer_scores
from .asking import GENERATE, LIKELIHOOD, Answered, Question, ask_rows
from .clusters import accuracy_intervals, label_intervals
from .evaluation import Answers, Evaluation
from .journal import Journal
from .judging import Found, asked_places, judged_answers, judged_labels
from .metrics import LabelScores, label_scores
from .overlong import OnOverlongRow, overlong_rows, prompt_lengths

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Opens the journal of a question; None where nothing is kept.
Journals = Callable[[str], Journal | None]


def evaluate_rows(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    rows: Sequence[Mapping[str, str]],
    *,
    task: Task,
    answers: Answers = "likelihood",
    batch_size: int = 32,
    abstain_below: float | None = None,
    calibration: Calibration | None = None,
    on_overlong: OnOverlongRow = "raise",
    seen: Collection[str] | None = None,
    progress: Progress | None = None,
    shared: bool = False,
    journals: Journals | None = None,
) -> Evaluation:
    """Score every row: labels as ``answers`` says, free answers as the task reads and scores them.

    The tail of the data is never dropped. With ``shared`` the processes of a launch share the rows
    out, and each gets the whole result; all of them must call.

    Args:
        abstain_below: also tell what comes of leaving rows unanswered whose likeliest label has
            less than this probability.
        calibration: what turns log-likelihoods of labels into probabilities, as ``predict`` does.
        on_overlong: rows that are longer than the model reads are an error, or wrong answers.
        seen: answers that occur in training, for tasks with free answers.
        journals: gives the journal of each question by its name; finished rows are not asked
            again.

    Raises:
        EmptyDatasetError: there is no row.
        DataError: the right answer of a row cannot be read.
        TruncatedAnswerError: rows leave no room for their answers.
        MemoryShortError: a batch does not fit into memory.
        UsageError: labels are asked for where answers are free.
    """
    if not rows:
        raise EmptyDatasetError("There is no row to score.", fix="Check the data and the limit.")
    free = contract.grammar != "label"
    questions = _questions(contract, answers, abstain_below)
    for row in rows:
        contract.gold(row)
    left_out = overlong_rows(
        prompt_lengths(tokenizer, contract, rows),
        room=contract.answer_room(tokenizer),
        limit=_limit(model),
        then=on_overlong,
    )
    asked = {place: row for place, row in enumerate(rows) if place not in set(left_out)}
    found: dict[str, dict[int, Answered]] = {}
    for number, question in enumerate(questions):
        journal = journals(question.name) if journals else None
        try:
            found[question.name] = ask_rows(
                question,
                model,
                tokenizer,
                contract,
                asked,
                batch_size=batch_size,
                progress=_after(progress, number * len(asked)),
                shared=shared,
                journal=journal,
            )
        finally:
            if journal is not None:
                journal.close()
    gold = [row["label"] for row in rows]
    if free:
        scored, results = judged_answers(task, rows, found["generate"])
        scores: LabelScores | AnswerScores = answer_scores(scored, metrics=task.metrics, seen=seen)
        right = [one["outcome"] == "exact" for one in results]
        intervals = accuracy_intervals(task, rows, right)
    else:
        results = judged_labels(contract, gold, found, calibration=calibration)
        scores = _label_scores(contract, gold, results)
        predicted = [one["predicted"] for one in results]
        intervals = label_intervals(task, rows, gold, predicted, labels=contract.labels)
    generated = [one["generated"] for one in results] if answers == "both" and not free else None
    return Evaluation(
        task=task.name,
        answers="generate" if free else answers,
        labels=contract.labels,
        grammar=contract.grammar,
        scores=scores,
        intervals=intervals,
        generated=label_scores(gold, generated, labels=contract.labels) if generated else None,
        agreement=agreement(gold, [one["predicted"] for one in results], generated)
        if generated
        else None,
        abstention=None
        if abstain_below is None
        else abstention(
            [max((one["scores"] or {"": 0.0}).values()) for one in results],
            [one["outcome"] == "exact" for one in results],
            below=abstain_below,
        ),
        overlong=tuple(place + 1 for place in left_out),
        seconds_per_example=_mean_seconds(found),
        contract_digest=contract.digest,
        data_digest=sha256_json([dict(row) for row in rows]),
        rows=[
            {
                **{name: value for name, value in row.items() if name != "label"},
                "gold": row["label"],
                "prompt_digest": sha256_json(contract.prompt_text(row)),
                **result,
                "seconds": sum(each[place].seconds for each in found.values() if place in each),
            }
            for place, (row, result) in enumerate(zip(rows, results, strict=True))
        ],
    )


def _questions(
    contract: PromptContract, answers: Answers, abstain_below: float | None
) -> tuple[Question, ...]:
    if abstain_below is not None and not 0 <= abstain_below <= 1:
        raise UsageError(f"abstain_below is {abstain_below}.", fix="Give a probability, 0 to 1.")
    if contract.grammar != "label":
        if abstain_below is not None:
            raise UsageError(
                f"Answers of the kind '{contract.grammar}' are written and have no probability to "
                "abstain by.",
                fix="Leave out abstain_below.",
            )
        return (GENERATE,)
    if answers == "generate" and abstain_below is not None:
        raise UsageError(
            "Labels that are written have no probability to abstain by.",
            fix="Ask for likelihoods, or for both.",
        )
    return {
        "likelihood": (LIKELIHOOD,),
        "generate": (GENERATE,),
        "both": (LIKELIHOOD, GENERATE),
    }[answers]


def _limit(model: Any) -> int:
    causal = model.get_base_model() if hasattr(model, "peft_config") else model
    return int(causal.config.max_position_embeddings)


def _after(progress: Progress | None, before: int) -> Progress | None:
    return None if progress is None else lambda done: progress(before + done)


def _mean_seconds(found: Found) -> float:
    places = asked_places(found)
    seconds = [sum(each[place].seconds for each in found.values()) for place in places]
    return math.fsum(seconds) / len(seconds) if seconds else 0.0


def _label_scores(
    contract: PromptContract, gold: Sequence[str], results: Sequence[Mapping[str, Any]]
) -> LabelScores:
    sure = [one["scores"] for one in results]
    return label_scores(
        gold,
        [one["predicted"] for one in results],
        labels=contract.labels,
        probabilities=None if None in sure else sure,
    )
