"""Repositories: create, change, move, remove."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from fin_qlora_hub.access.gating import require_download, set_gate
from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.access.visibility import open_readable, see
from fin_qlora_hub.errors import AlreadyExistsError, BadRequestError
from fin_qlora_hub.repositories.duplicating import duplicate
from fin_qlora_hub.repositories.repository import (
    Kind,
    RepositoryName,
    create,
    full_name,
    list_owned,
    move,
    open_writable,
    remove,
    set_visibility,
)
from fin_qlora_hub.routes import payloads
from fin_qlora_hub.routes.answers import Json
from fin_qlora_hub.routes.dependencies import (
    COSTLY,
    KINDS,
    CurrentCaller,
    CurrentHub,
    Plural,
    PublicUrl,
    Segment,
    Target,
    web_path,
    writing,
)
from fin_qlora_hub.routes.pages import page
from fin_qlora_hub.routes.problems import refusal
from fin_qlora_hub.text import Text, quoted

router = APIRouter()

OWNED_PAGE = 100
_ABSENT_REPOSITORY = frozenset(
    "auth-check branch commit commits paths-info preupload refs resolve revision settings tag "
    "tree".split()
)

Visibility = Literal["private", "public"]


class NewRepository(BaseModel):
    """What a client sends to make a repository; older ones say `private` for `visibility`."""

    model_config = ConfigDict(extra="ignore")

    name: Text
    organization: Text | None = None
    type: str | None = None
    visibility: Visibility | None = None
    private: bool | None = None

    def target(self, caller: Caller | None) -> RepositoryName:
        """Return the full name, in the caller's own namespace unless told otherwise."""
        if self.type not in (None, *Kind):
            raise BadRequestError(
                f"type {quoted(str(self.type))} is not available on this hub: "
                "use 'model' or 'dataset'."
            )
        kind = Kind(self.type) if self.type else Kind.MODEL
        namespace, slash, name = self.name.rpartition("/")
        if slash and self.organization not in (None, namespace):
            raise BadRequestError("'name' holds another namespace than 'organization'.")
        own = caller.name if caller else ""
        return RepositoryName(kind, self.organization or namespace or own, name)


class RepositorySettings(BaseModel):
    """What a client may change about a repository."""

    model_config = ConfigDict(extra="ignore")

    visibility: Visibility | None = None
    private: bool | None = None
    gated: Literal["auto", "manual", False] | None = None


def _is_private(visibility: Visibility | None, private: bool | None) -> bool | None:
    return visibility == "private" if visibility is not None else private


@router.post("/api/repos/create")
@writing
def create_repository(
    body: NewRepository, hub: CurrentHub, caller: CurrentCaller, public_url: PublicUrl
) -> JSONResponse:
    """Make a repository, private unless the client asks for a public one."""
    target = body.target(caller)
    private = _is_private(body.visibility, body.private)
    url = f"{public_url}/{web_path(target.kind)}"
    try:
        with hub.database.writing() as session:
            made = create(session, hub.storage, target, private=private is not False, caller=caller)
            name, number = full_name(made), made.id
    except AlreadyExistsError as error:
        return refusal(error, body={"url": url + str(target)})
    return JSONResponse({"url": url + name, "name": name, "id": f"{number:024x}"})


@router.delete("/api/repos/delete")
@writing
def delete_repository(body: NewRepository, hub: CurrentHub, caller: CurrentCaller) -> JSONResponse:
    """Remove a repository with its history."""
    with hub.database.writing() as session:
        remove(session, open_writable(session, body.target(caller), caller))
    return JSONResponse({})


class Move(BaseModel):
    """From which full name to which."""

    from_repo: Annotated[Text, Field(alias="fromRepo")]
    to_repo: Annotated[Text, Field(alias="toRepo")]
    type: Kind = Kind.MODEL

    def names(self) -> tuple[RepositoryName, RepositoryName]:
        """Return both names; raises BadRequestError where one has no namespace."""
        found = []
        for text in (self.from_repo, self.to_repo):
            namespace, slash, name = text.partition("/")
            if not slash or not namespace or not name:
                raise BadRequestError(
                    f"{quoted(text)} is no full name: use 'namespace/name' for both."
                )
            found.append(RepositoryName(self.type, namespace, name))
        return found[0], found[1]


@router.post("/api/repos/move")
@writing
def move_repository(body: Move, hub: CurrentHub, caller: CurrentCaller) -> JSONResponse:
    """Give a repository another name."""
    source, target = body.names()
    with hub.database.writing() as session:
        move(session, source, target, caller=caller)
    return JSONResponse({})


class Duplicate(BaseModel):
    """The name of the new repository, and who may see it: as before unless told otherwise."""

    model_config = ConfigDict(extra="ignore")

    repository: Text
    visibility: Visibility | None = None
    private: bool | None = None


@router.post("/api/{kinds}/{namespace}/{name}/duplicate", dependencies=COSTLY)
@writing
def duplicate_repository(
    body: Duplicate, target: Target, hub: CurrentHub, caller: CurrentCaller, public_url: PublicUrl
) -> JSONResponse:
    """Make a repository of another one."""
    namespace, slash, name = body.repository.partition("/")
    if not slash:
        raise BadRequestError(f"{quoted(body.repository)} is no full name: use 'namespace/name'.")
    wanted = RepositoryName(target.kind, namespace, name)
    private = _is_private(body.visibility, body.private)
    url = f"{public_url}/{web_path(target.kind)}"
    try:
        with hub.database.writing() as session:
            source = open_readable(session, target, caller)
            require_download(session, source, caller)
            made = duplicate(
                *(session, hub.storage, source, wanted),
                private=source.private if private is None else private,
                caller=caller,
            )
            found = full_name(made)
    except AlreadyExistsError as error:
        return refusal(error, body={"url": url + str(wanted)})
    return JSONResponse({"url": url + found, "name": found, "filesCopyPending": False})


@router.put("/api/{kinds}/{namespace}/{name}/settings")
@writing
def change_settings(
    body: RepositorySettings, target: Target, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Change who may see a repository."""
    private = _is_private(body.visibility, body.private)
    with hub.database.writing() as session:
        repository = open_writable(session, target, caller)
        if private is not None:
            set_visibility(session, repository, private=private)
        if body.gated is not None:
            set_gate(session, repository, body.gated or None)
        gated = repository.gated or False
        visibility = "private" if repository.private else "public"
    return JSONResponse({"visibility": visibility, "gated": gated})


@router.get("/api/settings/repositories")
@router.get("/api/organizations/{namespace}/settings/repositories")
def list_own_repositories(
    request: Request,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
    namespace: Segment | None = None,
    cursor: Annotated[int, Query(ge=0, lt=2**62)] = 0,
) -> Json:
    """List the repositories of a namespace, of every kind, with the bytes that each holds."""
    with hub.database.reading() as session:
        page_and_one = {"after": cursor, "limit": OWNED_PAGE + 1}
        found, quota = list_owned(session, namespace, caller=caller, **page_and_one)
        shown = [
            {
                "id": full_name(repository),
                "type": repository.kind,
                "updatedAt": payloads.moment(repository.updated_at),
                "visibility": "private" if repository.private else "public",
                "storage": repository.stored_bytes,
                **({"storagePercent": 100 * repository.stored_bytes / quota} if quota else {}),
            }
            for repository in found[:OWNED_PAGE]
        ]
        following = str(found[OWNED_PAGE - 1].id) if len(found) > OWNED_PAGE else None
    return page(shown, request=request, public_url=public_url, cursor=following)


@router.get("/api/{kinds}/{name}")
@router.api_route(
    "/api/{kinds}/{name}/{endpoint}/{rest:path}", methods=["GET", "POST", "PUT", "DELETE"]
)
def without_namespace(
    kinds: Plural,
    name: Segment,
    hub: CurrentHub,
    caller: CurrentCaller,
    endpoint: str = "revision",
) -> JSONResponse:
    """Answer for ids without a namespace, which this hub never has."""
    if endpoint not in _ABSENT_REPOSITORY:
        raise HTTPException(404)
    with hub.database.reading() as session:
        see(session, RepositoryName(KINDS[kinds], "", name), caller)
    raise AssertionError("a repository without a namespace")
