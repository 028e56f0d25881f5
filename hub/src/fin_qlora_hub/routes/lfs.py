"""Git LFS, as clients without Xet send large files: whole, or in parts."""

import asyncio
import secrets
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, StringConstraints
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.contents.largefiles import Expected, finish, held_sizes, join, keep, renew
from fin_qlora_hub.contents.reserving import reserve_room
from fin_qlora_hub.errors import (
    BadRequestError,
    ForbiddenError,
    HubError,
    InvalidTokenError,
    NotFoundError,
    OperationalError,
)
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.quotas import content_to_come
from fin_qlora_hub.repositories.proposing import access_to_send, open_proposable
from fin_qlora_hub.repositories.repository import Kind, RepositoryName, full_name
from fin_qlora_hub.routes.dependencies import (
    CurrentCaller,
    CurrentHub,
    PublicUrl,
    Segment,
    in_writer,
    upload_slots,
    web_path,
    writing,
)
from fin_qlora_hub.routes.receiving import receive
from fin_qlora_hub.routes.sent import take_in_sent
from fin_qlora_hub.xet.access import Access, Scope, require

router = APIRouter()

MAX_OBJECTS = 1000
MAX_PARTS = 10_000
URL_SECONDS = 6 * 60 * 60
MEDIA_TYPE = "application/vnd.git-lfs+json"
_UPLOAD, _PART, _COMPLETE = "lfs-upload", "lfs-part", "lfs-complete"
_BATCH = "/{namespace}/{name}.git/info/lfs/objects/batch"
_VERIFY = "/{namespace}/{name}.git/info/lfs/objects/verify"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class LargeFile(BaseModel):
    """A file that a client wants to send, or has sent."""

    oid: Sha256
    size: Annotated[int, Field(ge=0)]


class Batch(BaseModel):
    """All files of a coming commit, and the ways in which the client can send them."""

    operation: str
    transfers: Annotated[list[str], Field(default_factory=lambda: ["basic"], max_length=20)]
    objects: Annotated[list[LargeFile], Field(max_length=MAX_OBJECTS)]
    hash_algo: str = "sha256"


class Part(BaseModel):
    """A part that a client has sent, and the receipt for it."""

    number: Annotated[int, Field(alias="partNumber", ge=1, le=MAX_PARTS)]
    etag: Annotated[str, StringConstraints(max_length=200)]


class Completion(BaseModel):
    """All parts of a file, sent."""

    oid: Sha256
    parts: Annotated[list[Part], Field(max_length=MAX_PARTS)]


@router.post(_BATCH)
@writing
def plan_for_model(
    namespace: Segment,
    name: Segment,
    body: Batch,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
) -> JSONResponse:
    """Say how to send the large files of a model repository."""
    target = RepositoryName(Kind.MODEL, namespace, name)
    return _plan(target, body, hub=hub, caller=caller, public_url=public_url)


@router.post("/datasets" + _BATCH)
@writing
def plan_for_dataset(
    namespace: Segment,
    name: Segment,
    body: Batch,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
) -> JSONResponse:
    """Say how to send the large files of a data-set repository."""
    target = RepositoryName(Kind.DATASET, namespace, name)
    return _plan(target, body, hub=hub, caller=caller, public_url=public_url)


@router.post(_VERIFY)
async def verify_for_model(
    namespace: Segment, name: Segment, body: LargeFile, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Say whether a large file of a model repository has arrived."""
    return await _verify(RepositoryName(Kind.MODEL, namespace, name), body, hub=hub, caller=caller)


@router.post("/datasets" + _VERIFY)
async def verify_for_dataset(
    namespace: Segment, name: Segment, body: LargeFile, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Say whether a large file of a data-set repository has arrived."""
    return await _verify(
        RepositoryName(Kind.DATASET, namespace, name), body, hub=hub, caller=caller
    )


def _plan(
    target: RepositoryName, body: Batch, *, hub: Hub, caller: Caller | None, public_url: str
) -> JSONResponse:
    with hub.database.reading() as session:
        # Clients do not say for which branch: whoever may propose a change may send for one.
        repository = open_proposable(session, target, caller)
        access = access_to_send(session, repository, caller)
        name = full_name(repository)
    if body.operation != "upload" or body.hash_algo != "sha256":
        raise BadRequestError(
            "This endpoint plans uploads by SHA-256; downloads go to the address of the file."
        )
    wanted = [Expected(file.oid, file.size) for file in body.objects]
    held = renew(hub.database, hub.blobs, access.repository_id, wanted)
    missing = [file for file in body.objects if held.get(file.oid) != file.size]
    hub.blobs.require_space(sum(file.size for file in missing))
    if "xet" not in body.transfers:  # what comes in chunks keeps its room as it comes
        room = {content_to_come(access.repository_id, f.oid): f.size for f in missing}
        reserve_room(hub.database, access.namespace_id, room, seconds=URL_SECONDS)
    base = f"{public_url}/{web_path(target.kind)}{name}.git/info/lfs/objects"
    planned = _Planner(hub, access, public_url=public_url, verify=f"{base}/verify")
    transfer = "xet" if "xet" in body.transfers else "basic"
    in_parts = "multipart" in body.transfers
    objects = [
        {"oid": f.oid, "size": f.size}
        if held.get(f.oid) == f.size or (transfer == "xet" and f.size)
        else planned.one(f, in_parts=in_parts)
        for f in body.objects
    ]
    if transfer == "basic" and any("chunk_size" in _header(planned) for planned in objects):
        transfer = "multipart"
    return JSONResponse({"transfer": transfer, "objects": objects}, media_type=MEDIA_TYPE)


def _header(planned: dict[str, Any]) -> dict[str, str]:
    header: dict[str, str] = planned.get("actions", {}).get("upload", {}).get("header", {})
    return header


class _Planner:
    """Gives out an address for each file that is missing."""

    def __init__(self, hub: Hub, access: Access, *, public_url: str, verify: str) -> None:
        self._hub = hub
        self._access = access
        self._public_url = public_url
        self._verify = verify

    def one(self, file: LargeFile, *, in_parts: bool) -> dict[str, Any]:
        if file.size > self._hub.settings.max_file_bytes:
            message = (
                f"The file has {file.size:,} bytes; this hub takes files of at most "
                f"{self._hub.settings.max_file_bytes:,} bytes."
            )
            return {"oid": file.oid, "size": file.size, "error": {"code": 422, "message": message}}
        claims = {**self._access.claims(), "oid": file.oid, "size": file.size}
        part_bytes = self._hub.settings.lfs_part_bytes
        direct = self._hub.direct
        if in_parts and part_bytes < file.size <= part_bytes * MAX_PARTS:
            upload = self._in_parts(claims, file.size, part_bytes)
        elif direct is not None and file.size <= direct.largest_upload:
            href = direct.upload_url(self._access, file.oid, size=file.size)
            upload = {"href": href, "header": {}}
        else:
            upload = {"href": self._url("upload", claims, _UPLOAD), "header": {}}
        actions = {"upload": upload, "verify": {"href": self._verify, "header": {}}}
        return {"oid": file.oid, "size": file.size, "actions": actions}

    def _in_parts(self, claims: dict[str, Any], size: int, part_bytes: int) -> dict[str, Any]:
        upload = secrets.token_hex(16)
        header = {"chunk_size": str(part_bytes)}
        for number, start in enumerate(range(0, size, part_bytes), start=1):
            length = min(part_bytes, size - start)
            header[f"{number:05}"] = self._part(upload, number, length)
        count = len(header) - 1
        direct = self._hub.direct is not None
        whole = {**claims, "upload": upload, "parts": count, "direct": direct}
        return {"href": self._url("complete", whole, _COMPLETE), "header": header}

    def _part(self, upload: str, number: int, size: int) -> str:
        if self._hub.direct is not None:
            return self._hub.direct.part_url(upload, number, size=size)
        part = {**self._access.claims(), "upload": upload, "number": number, "size": size}
        return self._url("part", part, _PART)

    def _url(self, what: str, claims: dict[str, Any], purpose: str) -> str:
        sealed, _ = self._hub.signer.seal(purpose, claims, seconds=URL_SECONDS)
        return f"{self._public_url}/lfs/{what}?grant={sealed}"


@router.put("/lfs/upload")
async def take_whole(grant: str, request: Request, hub: CurrentHub) -> JSONResponse:
    """Take a whole file at the address that was given out for it."""
    claims = _opened(hub, grant, purpose=_UPLOAD)
    access, expected = Access.of(claims), Expected(claims["oid"], claims["size"])
    await run_in_threadpool(_check, hub, access)
    open_writer = partial(hub.blobs.writer, limit=expected.size, inline=False)
    async with upload_slots(request).one(access.user_id):
        writer = await run_in_threadpool(open_writer)
        try:
            await receive(request, writer.write, executor=hub.receivers)
            staged = await run_in_threadpool(finish, writer, expected)
            await in_writer(hub, partial(keep, hub.database, hub.blobs, access, staged))
        finally:
            await run_in_threadpool(writer.discard)
    return JSONResponse({})


@router.put("/lfs/part")
async def take_part(grant: str, request: Request, hub: CurrentHub) -> Response:
    """Take one part of a file; the receipt for it is its ETag."""
    claims = _opened(hub, grant, purpose=_PART)
    access = Access.of(claims)
    await run_in_threadpool(_check, hub, access)
    name, size = claims["upload"], claims["size"]
    async with upload_slots(request).one(access.user_id):
        part = await run_in_threadpool(hub.parts.receive, size)
        try:
            await receive(request, part.write, executor=hub.receivers)
            if part.size != size:
                message = f"The part has {part.size:,} bytes, not {size:,}: send it again."
                raise BadRequestError(message)
            await run_in_threadpool(hub.parts.keep, part, name, claims["number"])
        finally:
            await run_in_threadpool(part.discard)
    return Response(headers={"ETag": f'"{name}-{claims["number"]}"'})


@router.post("/lfs/complete")
async def complete_parts(
    grant: str, body: Completion, request: Request, hub: CurrentHub
) -> JSONResponse:
    """Put the parts of a file together."""
    claims = _opened(hub, grant, purpose=_COMPLETE)
    access, expected = Access.of(claims), Expected(claims["oid"], claims["size"])
    name, count = claims["upload"], claims["parts"]
    # An object store gives receipts of its own: there it is the bytes alone that count.
    receipts = [f"{name}-{number}" for number in range(1, count + 1)]
    if claims.get("direct"):
        receipts = ["" for _ in receipts]
        body.parts = [part.model_copy(update={"etag": ""}) for part in body.parts]
    sent = sorted((part.number, part.etag.strip('"')) for part in body.parts)
    if body.oid != expected.sha256 or sent != list(enumerate(receipts, start=1)):
        raise BadRequestError("The parts are not all that make up this file: send it again.")

    def put_together() -> None:
        _check(hub, access)
        if _holds(hub, access, expected):
            return  # the client had lost the answer
        writer = hub.blobs.writer(limit=expected.size, inline=False)
        try:
            join(hub.parts.joined(name, count), writer)
            keep(hub.database, hub.blobs, access, finish(writer, expected))
        except OperationalError:
            raise  # the client may try again with the parts that are there
        except HubError:
            hub.parts.forget(name, count)
            raise
        finally:
            writer.discard()
        hub.parts.forget(name, count)

    # Not a writer's thread: it reads and writes for minutes, and others wait to commit.
    async with upload_slots(request).one(access.user_id):
        await asyncio.wrap_future(hub.verifiers.submit(access.user_id, put_together))
    return JSONResponse({"success": True})


async def _verify(
    target: RepositoryName, body: LargeFile, *, hub: Hub, caller: Caller | None
) -> JSONResponse:
    def check() -> Access:
        with hub.database.reading() as session:
            repository = open_proposable(session, target, caller)
            return access_to_send(session, repository, caller)

    def is_held(access: Access) -> bool:
        return _holds(hub, access, Expected(body.oid, body.size))

    access = await run_in_threadpool(check)
    await take_in_sent(hub, access, [body.oid])
    if not await run_in_threadpool(is_held, access):
        raise NotFoundError("The file has not arrived: send it again.")
    return JSONResponse({}, media_type=MEDIA_TYPE)


def _opened(hub: Hub, grant: str, *, purpose: str) -> dict[str, Any]:
    try:
        return hub.signer.open(purpose, grant)
    except InvalidTokenError as error:
        raise ForbiddenError(str(error)) from None


def _check(hub: Hub, access: Access) -> None:
    with hub.database.reading() as session:
        require(session, access, scope=Scope.WRITE)


def _holds(hub: Hub, access: Access, expected: Expected) -> bool:
    with hub.database.reading() as session:
        held = held_sizes(session, access.repository_id, [expected.sha256])
    return held.get(expected.sha256) == expected.size
