"""Tokens for Xet, given out for one repository."""

from fastapi import APIRouter
from starlette.responses import JSONResponse

from fin_qlora_hub.access.gating import require_download
from fin_qlora_hub.audit.record import place_of
from fin_qlora_hub.git.references import resolve
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.repositories.proposing import access_to_send, open_for
from fin_qlora_hub.repositories.repository import open_readable
from fin_qlora_hub.routes.dependencies import (
    CurrentCaller,
    CurrentHub,
    PublicUrl,
    Segment,
    Target,
)
from fin_qlora_hub.xet.access import STRANGER, Access, Scope, generation

router = APIRouter()


@router.get("/api/{kinds}/{namespace}/{name}/xet-read-token/{revision}")
def give_read_token(
    target: Target,
    revision: Segment,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
) -> JSONResponse:
    """Let a client fetch the chunks of a repository's files."""
    with hub.database.reading() as session:
        repository = open_readable(session, target, caller)
        require_download(session, repository, caller)
        resolve(session, repository, revision)
        hub.recorder.read(place_of(repository), revision, way="token")
        user, token = (STRANGER, 0) if caller is None else (caller.user_id, caller.token_id)
        access = Access(repository.id, repository.namespace_id, user, Scope.READ, token)
        place = f"{generation(session)}-{repository.namespace.name}"
    return _token(hub, access, url=f"{public_url}/xet/{place}")


@router.get("/api/{kinds}/{namespace}/{name}/xet-write-token/{revision}")
def give_write_token(
    target: Target,
    revision: Segment,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
    create_pr: bool = False,
) -> JSONResponse:
    """Let a client send chunks for a repository, or for a pull request to it."""
    with hub.database.reading() as session:
        # A pull request that is only to be opened has no branch yet.
        opens = create_pr or revision == "None"
        repository = open_for(session, target, caller, branch=revision, create_pr=opens)
        if revision != "None":
            resolve(session, repository, revision)
        access = access_to_send(session, repository, caller)
        sender = repository.namespace.name
        if caller is not None and access.proposes:
            sender = caller.name
        place = f"{generation(session)}-{sender}"
    return _token(hub, access, url=f"{public_url}/xet/{place}")


def _token(hub: Hub, access: Access, *, url: str) -> JSONResponse:
    # Clients remember what they sent to an address: each namespace has its own, since what one
    # sent is not there for another, and so has each stock of xorbs.
    token, end = access.seal(hub.signer)
    return JSONResponse(
        {"accessToken": token, "exp": end, "casUrl": url},
        headers={
            "X-Xet-Access-Token": token,
            "X-Xet-Token-Expiration": str(end),
            "X-Xet-Cas-Url": url,
            "Cache-Control": "no-store",
        },
    )
