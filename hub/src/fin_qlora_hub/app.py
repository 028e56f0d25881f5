"""The application: every route, over one hub."""

import asyncio

from fastapi import FastAPI
from starlette.types import ASGIApp

from fin_qlora_hub.access.authentication import KnownCallers
from fin_qlora_hub.access.freshness import watch
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.routes import (
    approval,
    collections,
    discussions,
    gating,
    identity,
    information,
    leaderboards,
    lfs,
    likes,
    misc,
    oauth,
    overviews,
    problems,
    protection,
    references,
    repositories,
    resolve,
    rewriting,
    sign_on,
    tensors,
    trees,
    upload,
    webhooks,
    xet,
)
from fin_qlora_hub.routes.boundary import Boundary
from fin_qlora_hub.routes.limits import Limits
from fin_qlora_hub.routes.receiving import UploadSlots
from fin_qlora_hub.signing_in.trusted import Trusted


def build_routes() -> FastAPI:
    """Return every route, with what it takes; the hub that they serve is not chosen yet."""
    app = FastAPI(title="fin-qlora-hub", openapi_url=None, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    problems.install(app)
    # The most frequent first; `repositories` last: it ends with the routes that take any name.
    for noun in (
        information,
        resolve,
        misc,
        likes,
        identity,
        oauth,
        approval,
        sign_on,
        overviews,
        discussions,
        gating,
        rewriting,
        xet,
        lfs,
        leaderboards,
        collections,
        webhooks,
        tensors,
        trees,
        references,
        protection,
        upload,
        repositories,
    ):
        app.include_router(noun.router)
    return app


def create_app(hub: Hub) -> ASGIApp:
    """Build the application that serves a hub."""
    app = build_routes()
    app.state.hub = hub
    hub.keys.start()
    app.state.callers = KnownCallers(
        hub.database, watch(hub.database.place), used=hub.token_uses.note
    )
    app.state.limits = Limits(hub.settings)
    app.state.trusted = Trusted(hub.settings)
    app.state.at_issuers = asyncio.Semaphore(oauth.AT_ISSUERS)
    app.state.uploads = UploadSlots(hub.settings.max_uploads)
    return Boundary(app, settings=hub.settings)
