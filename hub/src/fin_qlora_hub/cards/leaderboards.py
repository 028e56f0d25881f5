"""How models rank on a data set, by what they tell of themselves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, or_, select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller, namespaces_of
from fin_qlora_hub.access.visibility import Kind
from fin_qlora_hub.cards.card import Card
from fin_qlora_hub.metadata.tables import EvaluationResult, Namespace, Repository

MAX_RANKED = 1000


@dataclass(frozen=True)
class Ranked:
    """One result in its place; equal values share a rank, and each task ranks by itself."""

    rank: int
    model: str
    owner: str
    owner_full_name: str
    owner_kind: str
    task: str
    value: float
    filename: str
    data: dict[str, Any]


def keep_results(session: Session, repository: Repository, card: Card) -> None:
    """Store the numbers of a card, so that data sets can rank by them."""
    session.execute(delete(EvaluationResult).filter_by(repository_id=repository.id))
    rows: list[dict[str, Any]] = []
    for file in card.results:
        for entry in file.entries:
            if not isinstance(entry["value"], float):
                continue
            rows.append(
                {
                    "repository_id": repository.id,
                    "position": len(rows),
                    "dataset_key": entry["dataset"]["id"].lower(),
                    "task": entry["dataset"]["task_id"],
                    "value": entry["value"],
                    "filename": file.filename,
                    "data": entry,
                }
            )
    if rows and repository.kind == Kind.MODEL:
        session.execute(insert(EvaluationResult), rows)


def leaderboard(
    session: Session,
    dataset: str,
    *,
    caller: Caller | None,
    task: str | None = None,
    roots_only: bool = True,
) -> Sequence[Ranked]:
    """Rank the models that the caller may see, the highest value first.

    `roots_only` leaves out those that were made from another model.
    """
    query = (
        select(EvaluationResult, Repository.name, Repository.card, Namespace)
        .join(Repository, Repository.id == EvaluationResult.repository_id)
        .join(Namespace, Namespace.id == Repository.namespace_id)
        .where(EvaluationResult.dataset_key == dataset.lower())
        .order_by(EvaluationResult.value.desc(), Repository.id, EvaluationResult.position)
    )
    visible: ColumnElement[bool] = Repository.private.is_(False)
    if caller is not None:
        visible = or_(visible, Repository.namespace_id.in_(namespaces_of(session, caller)))
    query = query.where(visible)
    if task is not None:
        query = query.where(EvaluationResult.task == task)
    rows = (
        (result, name, owner)
        for result, name, card, owner in session.execute(query)
        if not (roots_only and card["base_models"])
    )
    return sorted(_ranked(rows), key=lambda one: (one.rank, one.task))[:MAX_RANKED]


def _ranked(rows: Iterable[tuple[EvaluationResult, str, Namespace]]) -> Iterable[Ranked]:
    seen: dict[str, int] = {}
    last: dict[str, tuple[float, int]] = {}
    for result, name, owner in rows:
        seen[result.task] = seen.get(result.task, 0) + 1
        value, rank = last.get(result.task, (None, 0))
        if value != result.value:
            rank = seen[result.task]
        last[result.task] = result.value, rank
        yield Ranked(
            rank=rank,
            model=f"{owner.name}/{name}",
            owner=owner.name,
            owner_full_name=owner.full_name,
            owner_kind=owner.kind,
            task=result.task,
            value=result.value,
            filename=result.filename,
            data=result.data,
        )
