"""The card's YAML block, by which a hub files an adapter, with results in the model-index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..claims import RowFile, interval_of, may_claim, row_file
from .asked import AskedTask
from .measures import AVERAGED, METRICS

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

#: Licence names that the Hub knows by an id; another one is given as "other" with its name.
_LICENCES = {
    name.lower(): name.lower()
    for name in ("Apache-2.0", "MIT", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-SA-3.0", "CC0-1.0")
}


def metadata(
    manifest: Mapping[str, Any],
    tasks: Sequence[AskedTask],
    *,
    repo_id: str,
    address: str | None = None,
) -> ModelCardData:
    """Return the card's YAML block, with the results of each task in the model-index.

    ``pipeline_tag`` is ``text-generation``, because that is the stock pipeline which loads the
    adapter: it is a causal language model that writes an answer. Where what was measured is
    classification, the model-index says so. A score that was not measured on all rows of the
    published file is not in it.

    Args:
        address: of the hub, for the address of the file that a score can be checked by.
    """
    from huggingface_hub import ModelCardData

    licences = list(dict.fromkeys(one.evidence["licence"] for one in tasks))
    known = _LICENCES.get(licences[0].lower()) if len(licences) == 1 else None
    datasets = list(dict.fromkeys(one.dataset for one in tasks if one.dataset))
    where = f"{address}/{repo_id}/blob/main" if address else None
    results = [
        result
        for one in tasks
        if may_claim(one.evidence, manifest)
        for result in _model_index(one, tasks, row_file(manifest, one.name), where=where)
    ]
    tags = ["lora", "qlora", "finance", "transformers", "fin_qlora"]
    if not all(one.free for one in tasks):
        tags.append("text-classification")
    return ModelCardData(
        base_model=manifest["base"]["id"],
        base_model_relation="adapter",
        library_name="peft",
        pipeline_tag="text-generation",
        language="en",
        license=known or "other",
        license_name=None if known else ", ".join(licences),
        datasets=datasets or None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        tags=[
            *tags,
            *(one.name for one in tasks),
            *(["synthetic-data"] if any(one.evidence["synthetic"] for one in tasks) else []),
        ],
        model_name=repo_id.rpartition("/")[2],
        eval_results=results or None,
    )


def _model_index(
    one: AskedTask, tasks: Sequence[AskedTask], file: RowFile | None, *, where: str | None
) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    figures = one.evidence["evaluation"]["adapter"]
    data = one.dataset or one.name
    same_data = [other for other in tasks if (other.dataset or other.name) == data]
    about: dict[str, Any] = {
        "task_type": "text-generation" if one.free else "text-classification",
        "task_name": "Text generation" if one.free else "Text classification",
        "dataset_type": data,
        "dataset_name": one.title,
        # the Hub tells results apart by this; without it those of one data set would be one
        "dataset_config": one.name if len(same_data) > 1 else None,
        "dataset_split": "test",
        "source_name": file.name if file and where else None,
        "source_url": f"{where}/{file.name}" if file and where else None,
    }
    found = one.evidence["evaluation"]
    measured = {"accuracy": figures["accuracy"], **figures.get("metrics", {})}
    if "weighted_f1" in figures:
        measured["weighted_f1"] = figures["weighted_f1"]
    return [
        EvalResult(
            **about,
            metric_type="f1" if name in AVERAGED else name,
            metric_name=METRICS[name]
            + interval_of(figures, name, rows=found["rows"], in_words=True),
            metric_value=round(value, 4),
            metric_args={"average": AVERAGED[name]} if name in AVERAGED else None,
        )
        for name, value in measured.items()
    ]
