"""Webhooks of the caller's own."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from fin_qlora_hub.access.visibility import signed_in
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.tables import Webhook, WebhookDelivery
from fin_qlora_hub.outgoing import Outgoing
from fin_qlora_hub.routes.answers import Json
from fin_qlora_hub.routes.dependencies import CurrentCaller, CurrentHub, Segment, writing
from fin_qlora_hub.routes.payloads import moment
from fin_qlora_hub.text import Text
from fin_qlora_hub.webhooks.registry import (
    Domain,
    Watched,
    Wish,
    change_webhook,
    create_webhook,
    delete_webhook,
    disable,
    enable,
    last_deliveries,
    list_webhooks,
    open_own,
    open_webhook,
)

router = APIRouter()

_ALL = "/api/settings/webhooks"
_ONE = _ALL + "/{key}"
_HIDDEN = "********"


class WatchedItem(BaseModel):
    """What a webhook watches."""

    model_config = ConfigDict(extra="ignore")

    type: Text
    name: Text


class WantedWebhook(BaseModel):
    """What a client wants of a webhook; what is missing stays as it is."""

    model_config = ConfigDict(extra="ignore")

    url: Text | None = None
    job: Text | None = Field(default=None, alias="jobSourceId")
    watched: list[WatchedItem] = []
    domains: list[Domain] | None = None
    secret: Text | None = None

    def wish(self) -> Wish:
        """Return it in the hub's own terms."""
        if self.job is not None:
            raise BadRequestError("This hub runs no jobs: give the webhook a url.")
        watched = [Watched(one.type, one.name) for one in self.watched]
        return Wish(self.url, watched or None, self.domains, self.secret)


@router.get(_ALL)
def show_all(hub: CurrentHub, caller: CurrentCaller) -> Json:
    """List the caller's webhooks."""
    with hub.database.reading() as session:
        return Json([_shown(one) for one in list_webhooks(session, caller)])


@router.post(_ALL)
@writing
def begin(body: WantedWebhook, hub: CurrentHub, caller: CurrentCaller) -> Json:
    """Make a webhook."""
    with hub.database.writing() as session:
        wish = body.wish()
        made = create_webhook(session, wish, outgoing=_outgoing(hub), caller=caller)
        return Json({"webhook": _shown(made, secret=wish.secret)})


@router.get(_ONE)
def show(key: Segment, hub: CurrentHub, caller: CurrentCaller) -> Json:
    """Show a webhook."""
    with hub.database.reading() as session:
        return Json({"webhook": _shown(open_webhook(session, key, caller))})


@router.post(_ONE)
@writing
def change(key: Segment, body: WantedWebhook, hub: CurrentHub, caller: CurrentCaller) -> Json:
    """Change a webhook."""
    with hub.database.writing() as session:
        webhook = open_own(session, key, caller)
        wish, outgoing = body.wish(), _outgoing(hub)
        change_webhook(session, webhook, wish, outgoing=outgoing, caller=signed_in(caller))
        return Json({"webhook": _shown(webhook, secret=wish.secret)})


@router.post(_ONE + "/enable")
@writing
def switch_on(key: Segment, hub: CurrentHub, caller: CurrentCaller) -> Json:
    """Tell a webhook again of what happens."""
    with hub.database.writing() as session:
        webhook = open_own(session, key, caller)
        enable(session, webhook)
        return Json({"webhook": _shown(webhook)})


@router.post(_ONE + "/disable")
@writing
def switch_off(key: Segment, hub: CurrentHub, caller: CurrentCaller) -> Json:
    """Tell a webhook of nothing any more."""
    with hub.database.writing() as session:
        webhook = open_own(session, key, caller)
        disable(session, webhook)
        return Json({"webhook": _shown(webhook)})


@router.delete(_ONE)
@writing
def remove(key: Segment, hub: CurrentHub, caller: CurrentCaller) -> Json:
    """Remove a webhook."""
    with hub.database.writing() as session:
        delete_webhook(session, open_own(session, key, caller))
    return Json({"success": True})


@router.get(_ONE + "/deliveries")
def show_deliveries(key: Segment, hub: CurrentHub, caller: CurrentCaller) -> Json:
    """List what a webhook was told of, or is to be, the newest first."""
    with hub.database.reading() as session:
        webhook = open_webhook(session, key, caller)
        return Json([_delivery(one) for one in last_deliveries(session, webhook)])


def _outgoing(hub: Hub) -> Outgoing:
    return Outgoing.of(hub.settings)


def _shown(webhook: Webhook, *, secret: str | None = None) -> dict[str, Any]:
    """Return a webhook; its secret only to whoever has just sent it."""
    return {
        "id": f"{webhook.id:024x}",
        "url": webhook.url,
        "watched": [{"type": one["type"], "name": one["name"]} for one in webhook.watched],
        "domains": webhook.domains,
        "secret": secret or (webhook.secret and _HIDDEN),
        "disabled": webhook.disabled,
    }


def _delivery(one: WebhookDelivery) -> dict[str, Any]:
    return {
        "id": one.id,
        "status": one.status,
        "attempts": one.attempts,
        "createdAt": moment(one.created_at),
        "nextAttemptAt": moment(one.due_at) if one.status == "pending" else None,
        "answer": one.answer,
        "error": one.error,
        "payload": one.payload if one.attempts else None,  # what was not sent may be for others
    }
