"""What repositories are and hold: one by itself, and in lists.

Clients ask this most often, so these routes are tried first; their paths match nothing else.
"""

from collections.abc import Sequence
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request
from starlette.convertors import Convertor, register_url_convertor

from fin_qlora_hub.access.visibility import Kind, Seen, see
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.git.references import DEFAULT_BRANCH
from fin_qlora_hub.repositories.listing import Search, SortKey, card_details, cursor_after, search
from fin_qlora_hub.repositories.repository import contents
from fin_qlora_hub.routes import payloads
from fin_qlora_hub.routes.answers import Json, array
from fin_qlora_hub.routes.dependencies import (
    KINDS,
    CurrentCaller,
    CurrentHub,
    Plural,
    PublicUrl,
    Segment,
    Target,
)
from fin_qlora_hub.routes.mirrored import ARRIVES
from fin_qlora_hub.routes.pages import page
from fin_qlora_hub.text import quoted, shortened


class _PluralConvertor(Convertor[str]):
    regex = "|".join(KINDS)

    def convert(self, value: str) -> str:
        """Take it as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Give it as it is."""
        return value


register_url_convertor("plural", _PluralConvertor())
router = APIRouter()

MAX_PAGE = 1000
MAX_PAGE_BYTES = 4 * 1024 * 1024
_SORTS = {
    "lastModified": SortKey.UPDATED,
    "trendingScore": SortKey.UPDATED,
    "likes": SortKey.UPDATED,
    "createdAt": SortKey.CREATED,
    "downloads": SortKey.DOWNLOADS,
}
_EXPANDABLE = {
    Kind.MODEL: "author baseModels cardData childrenModelCount config createdAt disabled downloads "
    "downloadsAllTime evalResults gated gguf inference inferenceProviderMapping lastModified "
    "library_name likes mask_token model-index pipeline_tag private resourceGroup safetensors sha "
    "siblings spaces tags transformersInfo trendingScore usedStorage widgetData xetEnabled".split(),
    Kind.DATASET: "author cardData citation createdAt description disabled downloads "
    "downloadsAllTime gated lastModified likes mainSize paperswithcode_id private resourceGroup "
    "sha siblings tags trendingScore usedStorage xetEnabled".split(),
}
_DETAILS = frozenset(
    ["cardData", "config", "evalResults", "model-index", "safetensors", "widgetData"]
)
_LISTED = (
    *("modelId", "private", "gated", "likes", "downloads", "createdAt", "lastModified"),
    *("tags", "pipeline_tag", "library_name", "trendingScore"),
)
_LISTED_IN_FULL = ("author", "disabled", "sha", "siblings")
# Lists of data sets always say whose they are, and in full what the cards say.
_LISTED_DATASETS = (*_LISTED, "author", "disabled")
_DATASETS_IN_FULL = ("sha", "siblings", "cardData")
# Programs that run models on one's own machine, by the form of the files that they read.
_FORM_OF_APP = dict.fromkeys(("mlx-lm", "sglang", "tgi", "vllm"), "safetensors")
_FORM_OF_OTHERS = "gguf"
Fields = Annotated[list[str], Query()]
# Not a factory: FastAPI would read its signature at every request.
_NOTHING: list[str] = []


@router.get("/api/{kinds:plural}")
def list_repositories(
    kinds: Plural,
    request: Request,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
    filters: Annotated[list[str], Query(alias="filter")] = _NOTHING,
    expand: Fields = _NOTHING,
    author: str | None = None,
    texts: Annotated[list[str], Query(alias="search")] = _NOTHING,
    pipeline_tag: str | None = None,
    apps: Fields = _NOTHING,
    gated: bool | None = None,
    sort: str = "lastModified",
    limit: Annotated[int, Query(ge=1)] = MAX_PAGE,
    full: bool = False,
    card: Annotated[bool, Query(alias="cardData")] = False,
    config: bool = False,
    cursor: str | None = None,
) -> Json:
    """List the repositories that the caller may read."""
    if sort not in _SORTS:
        raise BadRequestError(f"sort {quoted(sort)} is unknown: use one of {', '.join(_SORTS)}.")
    kind = KINDS[kinds]
    _check_fields(expand, kind)
    listed, in_full = (
        (_LISTED, _LISTED_IN_FULL) if kind is Kind.MODEL else (_LISTED_DATASETS, _DATASETS_IN_FULL)
    )
    fields = expand or [
        *listed,
        *(in_full if full else ()),
        *(["cardData"] if card else []),
        *(["config"] if config else []),
    ]
    tags = [tag for value in filters for tag in value.split(",")]
    tags += dict.fromkeys(_FORM_OF_APP.get(app, _FORM_OF_OTHERS) for app in apps)
    details = bool(_DETAILS.intersection(fields))
    wanted = Search(
        kind=kind,
        author=author,
        texts=texts,
        tags=[*tags, *([pipeline_tag] if pipeline_tag else [])],
        sort=_SORTS[sort],
        gated=gated,
    )
    limit = min(limit, MAX_PAGE)
    with hub.database.reading() as session:
        shown: list[bytes] = []
        last: Seen | None = None
        following, size = None, 0
        for repository in search(session, wanted, caller=caller, limit=limit + 1, cursor=cursor):
            if last and (len(shown) >= limit or size > MAX_PAGE_BYTES):
                following = cursor_after(last, wanted.sort)
                break
            rest = card_details(session, repository.id) if details else None
            item = payloads.repository(repository, details=rest)
            if {"sha", "siblings", "usedStorage"}.intersection(fields):
                held = contents(session, repository.id, DEFAULT_BRANCH)
                item |= payloads.contents(held)
            shown.append(orjson.dumps(payloads.only(item, fields)))
            size += len(shown[-1])
            last = repository
    return page(array(shown), request=request, public_url=public_url, cursor=following)


@router.get("/api/{kinds:plural}/{namespace}/{name}", dependencies=ARRIVES)
def show_repository(
    target: Target,
    hub: CurrentHub,
    caller: CurrentCaller,
    expand: Fields = _NOTHING,
    blobs: bool = False,
    scanned: Annotated[bool, Query(alias="securityStatus")] = False,
) -> Json:
    """Show a repository at the head of `main`."""
    return show_revision(target, DEFAULT_BRANCH, hub, caller, expand, blobs, scanned)


@router.get("/api/{kinds:plural}/{namespace}/{name}/revision/{revision}", dependencies=ARRIVES)
def show_revision(
    target: Target,
    revision: Segment,
    hub: CurrentHub,
    caller: CurrentCaller,
    expand: Fields = _NOTHING,
    blobs: bool = False,
    scanned: Annotated[bool, Query(alias="securityStatus")] = False,
) -> Json:
    """Show a repository at a branch, tag or commit."""
    _check_fields(expand, target.kind)
    with hub.database.reading() as session:
        repository = see(session, target, caller)
        details = card_details(session, repository.id)
        shown = payloads.repository(repository, details=details)
        held = contents(session, repository.id, revision)
    shown |= payloads.contents(held, blobs=blobs)
    if scanned:
        shown["securityRepoStatus"] = {"scansDone": False, "filesWithIssues": []}
    return Json(payloads.only(shown, expand) if expand else shown)


def _check_fields(fields: Sequence[str], kind: Kind) -> None:
    known = _EXPANDABLE[kind]
    unknown = sorted(set(fields).difference(known))
    if unknown:
        raise BadRequestError(
            f"expand does not know {shortened(', '.join(unknown))} of a {kind}: expected one of "
            + "|".join(f'"{field}"' for field in known)
        )
