"""What routes ask for: the hub, the caller, the repository that the path names."""

from typing import Annotated, Literal
from urllib.parse import unquote

from fastapi import Depends, Request
from pydantic import AfterValidator

from fin_qlora_hub.errors import InvalidTokenError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.identity import Caller, authenticate
from fin_qlora_hub.repositories import Kind, RepositoryName

Plural = Literal["models", "datasets"]
# `boundary` leaves paths encoded, so a segment may hold slashes only after this.
Segment = Annotated[str, AfterValidator(unquote)]
KINDS: dict[str, Kind] = {"models": Kind.MODEL, "datasets": Kind.DATASET}


def _hub(request: Request) -> Hub:
    hub = request.app.state.hub
    assert isinstance(hub, Hub)
    return hub


def _caller(request: Request, hub: Annotated[Hub, Depends(_hub)]) -> Caller | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise InvalidTokenError("Invalid credentials in Authorization header")
    with hub.database.reading() as session:
        return authenticate(session, secret.strip())


def _public_url(request: Request, hub: Annotated[Hub, Depends(_hub)]) -> str:
    return (hub.settings.public_url or str(request.base_url)).rstrip("/")


def _repository_name(kinds: Plural, namespace: Segment, name: Segment) -> RepositoryName:
    return RepositoryName(KINDS[kinds], namespace, name)


CurrentHub = Annotated[Hub, Depends(_hub)]
CurrentCaller = Annotated[Caller | None, Depends(_caller)]
PublicUrl = Annotated[str, Depends(_public_url)]
Target = Annotated[RepositoryName, Depends(_repository_name)]


def web_path(kind: str) -> str:
    """Return what stands before a repository id in the addresses of its kind."""
    return "" if kind == Kind.MODEL else f"{kind}s/"
