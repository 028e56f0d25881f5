"""Who is on this hub, as far as the caller may know."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from fin_qlora_hub.metadata.tables import Namespace
from fin_qlora_hub.routes.answers import Json
from fin_qlora_hub.routes.dependencies import CurrentCaller, CurrentHub, PublicUrl, Segment
from fin_qlora_hub.routes.pages import page
from fin_qlora_hub.signing_in.overviews import (
    Overview,
    list_members,
    organization_overview,
    user_overview,
)

router = APIRouter()

MEMBERS_PAGE = 100


@router.get("/api/users/{name}/overview")
def show_user(name: Segment, hub: CurrentHub, caller: CurrentCaller) -> Json:
    """Tell of a user."""
    with hub.database.reading() as session:
        found = user_overview(session, name, caller)
        shown = {
            **_shown(found),
            "user": found.name,
            "isPro": False,
            "type": "user",
            "numDiscussions": found.discussions,
            "orgs": [
                {"name": one.name, "fullname": one.full_name, "avatarUrl": ""}
                for one in found.organizations
            ],
        }
    return Json(shown)


@router.get("/api/organizations/{name}/overview")
def show_organization(name: Segment, hub: CurrentHub, caller: CurrentCaller) -> Json:
    """Tell of an organization."""
    with hub.database.reading() as session:
        found = organization_overview(session, name, caller)
    return Json({**_shown(found), "name": found.name, "type": "org", "numUsers": found.members})


@router.get("/api/organizations/{name}/members")
def show_members(
    name: Segment,
    request: Request,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
    cursor: Annotated[int, Query(ge=0, lt=2**62)] = 0,
) -> Json:
    """List the members of an organization, for members."""
    with hub.database.reading() as session:
        found = list_members(session, name, caller, after=cursor, limit=MEMBERS_PAGE + 1)
        shown = [_member(one) for one in found[:MEMBERS_PAGE]]
        following = str(found[MEMBERS_PAGE - 1].id) if len(found) > MEMBERS_PAGE else None
    return page(shown, request=request, public_url=public_url, cursor=following)


def _shown(found: Overview) -> dict[str, Any]:
    return {
        "fullname": found.full_name,
        "avatarUrl": "",
        "numModels": found.models,
        "numDatasets": found.datasets,
        "numSpaces": 0,
    }


def _member(user: Namespace) -> dict[str, Any]:
    return {
        "_id": f"{user.id:024x}",
        "user": user.name,
        "fullname": user.full_name,
        "avatarUrl": "",
        "isPro": False,
        "type": "user",
    }
