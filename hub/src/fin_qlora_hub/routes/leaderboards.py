"""How models rank on a data set."""

from typing import Annotated

from fastapi import APIRouter, Query

from fin_qlora_hub.access.visibility import see
from fin_qlora_hub.cards.leaderboards import Ranked, leaderboard
from fin_qlora_hub.repositories.repository import Kind, RepositoryName
from fin_qlora_hub.routes.answers import Json
from fin_qlora_hub.routes.dependencies import CurrentCaller, CurrentHub, Segment

router = APIRouter()


@router.get("/api/datasets/{namespace}/{name}/leaderboard")
def show_leaderboard(
    namespace: Segment,
    name: Segment,
    hub: CurrentHub,
    caller: CurrentCaller,
    roots_only: Annotated[bool, Query(alias="base_model")] = True,
    task: Annotated[str | None, Query(alias="task_id")] = None,
) -> Json:
    """Rank the models that tell of results on a data set."""
    with hub.database.reading() as session:
        dataset = see(session, RepositoryName(Kind.DATASET, namespace, name), caller)
        found = leaderboard(session, dataset.name, caller=caller, task=task, roots_only=roots_only)
    return Json([_shown(one) for one in found])


def _shown(one: Ranked) -> dict[str, object]:
    return {
        "rank": one.rank,
        "modelId": one.model,
        "taskId": one.task,
        "value": one.value,
        "filename": one.filename,
        # A token that came with a result proves nothing here: this hub cannot check it.
        "verified": False,
        "source": one.data.get("source"),
        "notes": one.data.get("notes"),
        "author": {
            "name": one.owner,
            "fullname": one.owner_full_name,
            "avatarUrl": "",
            "type": one.owner_kind,
        },
    }
