"""Collections and their items."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.tables import Collection, Repository
from fin_qlora_hub.repositories.collections import (
    Change,
    CollectionExistsError,
    Slug,
    add_item,
    change_collection,
    change_item,
    create_collection,
    list_collections,
    open_collection,
    open_own,
    remove_collection,
    remove_item,
    slug_of,
    visible_items,
)
from fin_qlora_hub.repositories.repository import RepositoryName, full_name
from fin_qlora_hub.routes import payloads
from fin_qlora_hub.routes.answers import Json
from fin_qlora_hub.routes.dependencies import (
    KINDS,
    CurrentCaller,
    CurrentHub,
    PublicUrl,
    Segment,
    writing,
)
from fin_qlora_hub.routes.pages import page
from fin_qlora_hub.routes.problems import refusal
from fin_qlora_hub.text import Text, quoted

router = APIRouter()

MAX_PAGE = 100
ITEMS_IN_LISTS = 4
_ALL = "/api/collections"
_ONE = _ALL + "/{namespace}/{slug}"
_COLLECTION = "collection"
_Position = Annotated[int, Field(ge=0, lt=10_000)]
_NOTHING: list[str] = []


class NewCollection(BaseModel):
    """What a collection begins with."""

    model_config = ConfigDict(extra="ignore")

    title: Text
    namespace: Text
    description: Text = ""
    private: bool = False


class ChangedCollection(BaseModel):
    """What to change about a collection."""

    model_config = ConfigDict(extra="ignore")

    title: Text | None = None
    description: Text | None = None
    private: bool | None = None
    theme: Text | None = None
    position: _Position | None = None


class Named(BaseModel):
    """What stands in a collection."""

    id: Text
    type: Text


class NewItem(BaseModel):
    """What to put into a collection, and what to say of it."""

    item: Named
    note: Text = ""


class ChangedItem(BaseModel):
    """What to change about an item."""

    note: Text | None = None
    position: _Position | None = None


@router.get(_ALL)
def show_all(
    request: Request,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
    owner: Annotated[list[str], Query()] = _NOTHING,
    item: str | None = None,
    sort: Literal["lastModified", "trending", "upvotes"] = "lastModified",
    limit: Annotated[int, Query(ge=1)] = MAX_PAGE,
    cursor: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> Json:
    """List the collections that the caller may see, the last changed first."""
    limit = min(limit, MAX_PAGE)
    with hub.database.reading() as session:
        found = list_collections(
            *(session, caller),
            owners=owner,
            item=None if item is None else _named(*item.partition("/")[::2]),
            limit=limit + 1,
            after=cursor,
        )
        shown = [_shown(session, one, caller, short=True) for one in found[:limit]]
    following = str(cursor + limit) if len(found) > limit else None
    return page(shown, request=request, public_url=public_url, cursor=following)


@router.post(_ALL)
@writing
def begin(body: NewCollection, hub: CurrentHub, caller: CurrentCaller) -> Response:
    """Make a collection."""
    try:
        with hub.database.writing() as session:
            made = create_collection(
                *(session, body.namespace),
                title=body.title,
                description=body.description,
                private=body.private,
                caller=caller,
            )
            slug = tuple(slug_of(made).split("/"))
    except CollectionExistsError as error:
        return refusal(error, body={"slug": error.slug})
    return _answer(hub, (slug[0], slug[1]), caller)


@router.get(_ONE)
def show(namespace: Segment, slug: Segment, hub: CurrentHub, caller: CurrentCaller) -> Json:
    """Show a collection with its items."""
    return _answer(hub, (namespace, slug), caller)


@router.patch(_ONE)
@writing
def change(
    namespace: Segment,
    slug: Segment,
    body: ChangedCollection,
    hub: CurrentHub,
    caller: CurrentCaller,
) -> Json:
    """Change what is said of a collection."""
    with hub.database.writing() as session:
        collection = open_own(session, (namespace, slug), caller)
        change_collection(session, collection, Change(**body.model_dump()))
    with hub.database.reading() as session:
        collection = open_collection(session, (namespace, slug), caller)
        return Json({"success": True, "data": _shown(session, collection, caller)})


@router.delete(_ONE)
@writing
def remove(namespace: Segment, slug: Segment, hub: CurrentHub, caller: CurrentCaller) -> Json:
    """Remove a collection; what stood in it stays."""
    with hub.database.writing() as session:
        remove_collection(session, open_own(session, (namespace, slug), caller))
    return Json({"success": True})


@router.post(_ONE + "/items")
@writing
def put_in(
    namespace: Segment, slug: Segment, body: NewItem, hub: CurrentHub, caller: CurrentCaller
) -> Json:
    """Put a repository, or another collection, into a collection."""
    wanted: RepositoryName | Slug
    if body.item.type == _COLLECTION:
        owner, _, name = body.item.id.partition("/")
        wanted = (owner, name)
    else:
        wanted = _named(f"{body.item.type}s", body.item.id)
    with hub.database.writing() as session:
        collection = open_own(session, (namespace, slug), caller)
        add_item(session, collection, wanted, note=body.note, caller=caller)
    return _answer(hub, (namespace, slug), caller)


@router.patch(_ONE + "/items/{number}")
@writing
def alter(
    namespace: Segment,
    slug: Segment,
    number: Segment,
    body: ChangedItem,
    hub: CurrentHub,
    caller: CurrentCaller,
) -> Json:
    """Change the note or the place of an item."""
    with hub.database.writing() as session:
        collection = open_own(session, (namespace, slug), caller)
        change_item(session, collection, number, note=body.note, position=body.position)
    return Json({"success": True})


@router.delete(_ONE + "/items/{number}")
@writing
def take_out(
    namespace: Segment, slug: Segment, number: Segment, hub: CurrentHub, caller: CurrentCaller
) -> Json:
    """Take an item out of a collection."""
    with hub.database.writing() as session:
        remove_item(session, open_own(session, (namespace, slug), caller), number)
    return Json({"success": True})


def _named(kinds: str, name: str) -> RepositoryName:
    namespace, slash, rest = name.partition("/")
    if kinds not in KINDS or not slash:
        raise BadRequestError(
            f"{quoted(f'{kinds}/{name}')} is no item: collections of this hub hold models, "
            "datasets and collections ('models/NAMESPACE/NAME')."
        )
    return RepositoryName(KINDS[kinds], namespace, rest)


def _answer(hub: Hub, slug: Slug, caller: Caller | None) -> Json:
    with hub.database.reading() as session:
        return Json(_shown(session, open_collection(session, slug, caller), caller))


def _shown(
    session: Any, collection: Collection, caller: Caller | None, *, short: bool = False
) -> dict[str, Any]:
    """Return what clients are told; lists give no position, and few items."""
    items = [
        {
            "_id": f"{item.id:024x}",
            "position": place,
            "note": {"text": item.note} if item.note else None,
            **(_held(found) if isinstance(found, Collection) else _repository(found)),
        }
        for place, (item, found) in enumerate(visible_items(session, collection, caller))
    ]
    owner = collection.namespace
    shown = {
        "slug": slug_of(collection),
        "title": collection.title,
        "description": collection.description or None,
        "owner": {"name": owner.name, "fullname": owner.full_name, "type": owner.kind},
        "items": items[:ITEMS_IN_LISTS] if short else items,
        "numberItems": len(items),
        "lastUpdated": payloads.moment(collection.updated_at),
        "private": collection.private,
        "theme": collection.theme,
        "upvotes": 0,
    }
    return shown if short else {**shown, "position": collection.position}


def _repository(found: Repository) -> dict[str, Any]:
    return {
        "type": found.kind,
        "id": full_name(found),
        "author": found.namespace.name,
        "private": found.private,
        "gated": found.gated or False,
        "downloads": found.downloads,
        "likes": 0,
        "lastModified": payloads.moment(found.updated_at),
    }


def _held(found: Collection) -> dict[str, Any]:
    return {
        "type": _COLLECTION,
        "id": f"{found.id:024x}",
        "slug": slug_of(found),
        "title": found.title,
        "owner": {"name": found.namespace.name, "type": found.namespace.kind},
        "theme": found.theme,
        "lastUpdated": payloads.moment(found.updated_at),
    }
