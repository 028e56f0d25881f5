"""How a refusal looks over HTTP: the status, headers and body that stock clients understand."""

import logging
import re

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from fin_qlora_hub import errors

_FAULT = "The hub failed; its log says why."
MAX_MESSAGE = 2000
MAX_HEADER = 500
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_logger = logging.getLogger("fin_qlora_hub")

# The most special class first; clients act on the four codes that the public hub also sends.
_PROBLEMS: tuple[tuple[type[errors.HubError], int, str], ...] = (
    (errors.IllegalPathError, 422, "IllegalPath"),
    (errors.BadRequestError, 400, "BadRequest"),
    (errors.NotAuthenticatedError, 401, "RepoNotFound"),
    (errors.InvalidTokenError, 401, "InvalidCredentials"),
    (errors.GatedForStrangersError, 401, "GatedRepo"),
    (errors.GatedError, 403, "GatedRepo"),
    (errors.ForbiddenError, 403, "Forbidden"),
    (errors.RepositoryNotFoundError, 404, "RepoNotFound"),
    (errors.RepositoryMovedError, 404, "RepoNotFound"),
    (errors.RevisionNotFoundError, 404, "RevisionNotFound"),
    (errors.EntryNotFoundError, 404, "EntryNotFound"),
    (errors.NotFoundError, 404, "NotFound"),
    (errors.AlreadyExistsError, 409, "AlreadyExists"),
    (errors.ParentConflictError, 412, "ParentConflict"),
    (errors.QuotaExceededError, 413, "QuotaExceeded"),
    (errors.TooLargeError, 413, "TooLarge"),
    (errors.TooManyRequestsError, 429, "RateLimited"),
    (errors.StorageFullError, 507, "StorageFull"),
    (errors.BusyError, 503, "Busy"),
)


_READING = ("GET", "HEAD", "OPTIONS")
# Of whoever asks for what they may not do, that is on record.
_ATTEMPTS = (
    errors.ForbiddenError,
    errors.InvalidTokenError,
    errors.NotAuthenticatedError,
    errors.RepositoryNotFoundError,
)


def problem(
    status: int,
    code: str,
    message: str,
    *,
    headers: dict[str, str] | None = None,
    body: dict[str, object] | None = None,
) -> JSONResponse:
    """Build an error answer; the message stands in the body and in a header."""
    message = message[:MAX_MESSAGE].encode("utf-8", "replace").decode()
    line = _UNPRINTABLE.sub("?", " ".join(message.split()))[:MAX_HEADER]
    return JSONResponse(
        {"error": message, **(body or {})},
        status_code=status,
        headers={
            "X-Error-Code": code,
            "X-Error-Message": line,
            **(headers or {}),
        },
    )


def refusal(error: errors.HubError, *, body: dict[str, object] | None = None) -> JSONResponse:
    """Build the answer for a refusal of the hub."""
    headers = {}
    if isinstance(error, errors.EntryNotFoundError) and error.commit:
        headers["X-Repo-Commit"] = error.commit  # lets the client remember that nothing is there
    if isinstance(error, errors.BusyError):
        headers["Retry-After"] = str(error.seconds)
    if isinstance(error, errors.TooManyRequestsError):
        headers["Retry-After"] = str(error.seconds)
        headers["ratelimit"] = f'"api";r=0;t={error.seconds}'
        headers["ratelimit-policy"] = f'"fixed window";"api";q={error.per_minute};w=60'
    for kind, status, code in _PROBLEMS:
        if isinstance(error, kind):
            return problem(status, code, str(error), headers=headers, body=body)
    _logger.error("refused by the server's surroundings: %s", error)
    return problem(500, "ServerFault", _FAULT)


_REPOSITORY = re.compile(
    r"(?P<before>/api/(?:models|datasets)/|/datasets/|/)[^/]+/[^/]+?"
    r"(?P<after>(?:\.git)?/.*|(?:\.git)?)"
)


def moved(request: Request, error: errors.RepositoryMovedError) -> JSONResponse:
    """Send a client to the same address of the repository's new name."""
    path = _REPOSITORY.fullmatch(request.scope["path"])
    if path is None or request.scope["path"].startswith("/api/repos/"):
        return problem(404, "RepoNotFound", "Repository not found")
    hub = request.app.state.hub
    base = (hub.settings.public_url or str(request.base_url)).rstrip("/")
    query = f"?{request.url.query}" if request.url.query else ""
    location = f"{base}{path['before']}{error.name}{path['after']}{query}"
    return problem(307, "RepoMoved", str(error), headers={"Location": location})


def gated() -> JSONResponse:
    """Answer a download from a namespace that is not the caller's, such as a public base model's.

    Clients take "gated" as a reason to look in their cache, "not found" as a reason to stop. The
    answer is one and the same whether the namespace is there, the repository, or neither.
    """
    return problem(
        403,
        "GatedRepo",
        "The repository is not on this hub, or is not for you to read. Put it into your local "
        "cache, publish it to this hub under this id, or ask its owners for a role.",
    )


def install(app: FastAPI) -> None:
    """Make the application answer every failure in this form."""

    async def on_refusal(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.HubError)
        if isinstance(error, errors.RepositoryMovedError):
            return moved(request, error)
        answer = refusal(error)
        if isinstance(error, errors.GatedError) or (
            request.method not in _READING and isinstance(error, _ATTEMPTS)
        ):
            code = answer.headers["X-Error-Code"]
            path = request.scope["path"]
            request.app.state.hub.recorder.refused(request.method, path, code=code)
        return answer

    async def on_http(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return problem(404, "EndpointNotFound", "This hub has no such endpoint.")
        code = {405: "MethodNotAllowed", 413: "TooLarge"}.get(error.status_code, "BadRequest")
        return problem(
            error.status_code, code, str(error.detail), headers=dict(error.headers or {})
        )

    async def on_invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        if first["loc"][0] == "path":
            return problem(404, "EndpointNotFound", "This hub has no such endpoint.")
        place = ".".join(map(str, first["loc"]))
        return problem(400, "BadRequest", f"The request is not valid at {place}: {first['msg']}.")

    async def on_cut(_request: Request, _error: Exception) -> JSONResponse:
        return problem(400, "BadRequest", "The connection was cut before the request had arrived.")

    async def on_fault(_request: Request, _error: Exception) -> JSONResponse:
        return problem(500, "InternalError", _FAULT)

    app.add_exception_handler(errors.HubError, on_refusal)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(ClientDisconnect, on_cut)
    app.add_exception_handler(Exception, on_fault)
