"""What routes ask for: the hub, the caller, the repository that the path names."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Annotated, Literal, ParamSpec, TypeVar
from urllib.parse import unquote

from fastapi import Depends, Request
from pydantic import AfterValidator
from starlette.concurrency import run_in_threadpool

from fin_qlora_hub.access.authentication import KnownCallers
from fin_qlora_hub.access.identity import Caller, digest_of
from fin_qlora_hub.audit.acting import identify
from fin_qlora_hub.errors import InvalidTokenError, NotAuthenticatedError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.repositories.repository import Kind, RepositoryName
from fin_qlora_hub.routes.limits import limits_of
from fin_qlora_hub.routes.receiving import UploadSlots

Plural = Literal["models", "datasets"]
# `boundary` leaves paths encoded, so a segment may hold slashes only after this.
Segment = Annotated[str, AfterValidator(unquote)]
_Parameters = ParamSpec("_Parameters")
_Answer = TypeVar("_Answer")
KINDS: dict[str, Kind] = {"models": Kind.MODEL, "datasets": Kind.DATASET}


# These only look things up: without `async` each would cost a trip through a thread.
async def _hub(request: Request) -> Hub:
    hub = request.app.state.hub
    assert isinstance(hub, Hub)
    return hub


async def _any_caller(request: Request) -> Caller | None:
    header = request.headers.get("authorization")
    limits = limits_of(request)
    if header is None:
        limits.count(request, None)
        return None
    scheme, _, secret = header.partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        limits.fail(request)
        raise InvalidTokenError("Invalid credentials in Authorization header")
    callers = request.app.state.callers
    assert isinstance(callers, KnownCallers)
    caller = callers.recall(secret)
    if caller is None:
        caller = await _looked_up(request, callers, secret)
    limits.count(request, caller)
    identify(name=caller.name, token=caller.token_name)
    return caller


async def _looked_up(request: Request, callers: KnownCallers, secret: str) -> Caller:
    limits, digest = limits_of(request), digest_of(secret)
    limits.require_trust(request, digest)
    try:
        caller = await run_in_threadpool(callers.look_up, secret)
    except InvalidTokenError:
        limits.distrust(digest)
        limits.fail(request)
        raise
    limits.trust(digest)
    return caller


async def _counted(request: Request) -> None:
    limits_of(request).count(request, None)


async def _costly(request: Request, caller: Annotated[Caller | None, Depends(_any_caller)]) -> None:
    limits_of(request).count_costly(request, caller)


async def _caller(
    caller: Annotated[Caller | None, Depends(_any_caller)], hub: Annotated[Hub, Depends(_hub)]
) -> Caller | None:
    if caller is None and not hub.settings.anonymous_read:
        raise NotAuthenticatedError("Invalid username or password.")
    return caller


async def _public_url(request: Request, hub: Annotated[Hub, Depends(_hub)]) -> str:
    return (hub.settings.public_url or str(request.base_url)).rstrip("/")


async def _repository_name(kinds: Plural, namespace: Segment, name: Segment) -> RepositoryName:
    return RepositoryName(KINDS[kinds], namespace, name)


def upload_slots(request: Request) -> UploadSlots:
    """Return what lets large bodies in."""
    slots = request.app.state.uploads
    assert isinstance(slots, UploadSlots)
    return slots


CurrentHub = Annotated[Hub, Depends(_hub)]
# None is a stranger: one who may read what is public, where the hub lets strangers read at all.
CurrentCaller = Annotated[Caller | None, Depends(_caller)]
# None is whoever sent no token, whatever the hub lets strangers do.
AnyCaller = Annotated[Caller | None, Depends(_any_caller)]
# For routes to which nobody shows an access token.
COUNTED = [Depends(_counted)]
# For routes that cost far more than a look at one repository.
COSTLY = [Depends(_costly)]
PublicUrl = Annotated[str, Depends(_public_url)]
Target = Annotated[RepositoryName, Depends(_repository_name)]


def writing(
    route: Callable[_Parameters, _Answer],
) -> Callable[_Parameters, Awaitable[_Answer]]:
    """Run a route that changes something in the hub's writer threads, never in a reader's."""

    @wraps(route)
    async def run(*arguments: _Parameters.args, **named: _Parameters.kwargs) -> _Answer:
        hub = named["hub"]
        assert isinstance(hub, Hub)
        return await in_writer(hub, partial(route, *arguments, **named))

    return run


async def in_writer(hub: Hub, work: Callable[[], _Answer]) -> _Answer:
    """Do some work in one of the hub's writer threads."""
    # A thread of its own does not know by itself who acts.
    known = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(hub.writers, known.run, work)


def web_path(kind: str) -> str:
    """Return what stands before a repository id in the addresses of its kind."""
    return "" if kind == Kind.MODEL else f"{kind}s/"
