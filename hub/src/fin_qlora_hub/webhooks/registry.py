"""Webhooks: who wants to be told of what, and where."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.access.visibility import Kind, RepositoryName, see, signed_in
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import read_head, record
from fin_qlora_hub.errors import BadRequestError, ForbiddenError, HubError, NotFoundError
from fin_qlora_hub.metadata.tables import Namespace, Webhook, WebhookDelivery
from fin_qlora_hub.outgoing import Outgoing
from fin_qlora_hub.text import quoted

MAX_WEBHOOKS = 100
MAX_WATCHED = 100
MAX_NAME = 200
MAX_SHOWN = 100
_SECRET = re.compile(r"[\x21-\x7e]{1,200}")
_REPOSITORIES = {"model": Kind.MODEL, "dataset": Kind.DATASET}
_NAMESPACES = ("user", "org")


class Domain(StrEnum):
    """What a webhook is told of."""

    REPOSITORY = "repo"
    DISCUSSION = "discussion"


@dataclass(frozen=True)
class Watched:
    """A user, an organization or a repository, by its type and name."""

    type: str
    name: str


@dataclass(frozen=True)
class Wish:
    """What somebody wants of a webhook; None leaves it as it is."""

    url: str | None = None
    watched: Sequence[Watched] | None = None
    domains: Sequence[Domain] | None = None
    secret: str | None = None


def list_webhooks(session: Session, caller: Caller | None) -> Sequence[Webhook]:
    """Return the caller's own webhooks, oldest first."""
    query = select(Webhook).filter_by(owner_id=_unlimited(caller).user_id)
    return session.scalars(query.order_by(Webhook.id)).all()


def open_webhook(session: Session, key: str, caller: Caller | None) -> Webhook:
    """Return a webhook of the caller's own; raises NotFoundError for any other."""
    caller = _unlimited(caller)
    number = int(key, 16) if re.fullmatch(r"[0-9a-f]{24}", key) else 0
    found = session.get(Webhook, number) if 0 < number < 2**31 else None
    if found is None or found.owner_id != caller.user_id:
        raise NotFoundError("You have no such webhook.")
    return found


def open_own(session: Session, key: str, caller: Caller | None) -> Webhook:
    """Return a webhook that the caller may change."""
    require_writing(session, caller)
    return open_webhook(session, key, caller)


def require_writing(session: Session, caller: Caller | None) -> Caller:
    """Return a caller who may have webhooks of their own changed."""
    caller = _unlimited(caller)
    if not caller.token_role.writes:
        raise ForbiddenError("Changing webhooks needs a token with the role 'write'.")
    return caller


def _unlimited(caller: Caller | None) -> Caller:
    """Return a caller whose token is not limited: webhooks tell of all that their owner may see."""
    caller = signed_in(caller)
    if caller.reach is not None:
        raise ForbiddenError("Webhooks need a token that is not limited to some repositories.")
    return caller


def create_webhook(
    session: Session, wish: Wish, *, outgoing: Outgoing, caller: Caller | None
) -> Webhook:
    """Make a webhook, which is told of what happens from now on."""
    caller = require_writing(session, caller)
    count = session.scalar(select(func.count(Webhook.id)).filter_by(owner_id=caller.user_id)) or 0
    if count >= MAX_WEBHOOKS:
        raise BadRequestError(f"You have {MAX_WEBHOOKS} webhooks already: delete one first.")
    if wish.url is None:
        raise BadRequestError("A webhook needs a url: this hub runs no jobs.")
    if not wish.watched:
        raise BadRequestError("Say what the webhook watches: users, organizations or repositories.")
    made = Webhook(
        owner_id=caller.user_id,
        disabled=False,
        domains=list(Domain),
        since=read_head(session).sequence,
        created_at=datetime.now(UTC),
    )
    _apply(session, made, wish, outgoing=outgoing, caller=caller)
    session.add(made)
    session.flush()
    _on_record(session, made, Act.WEBHOOK_CREATED)
    return made


def change_webhook(
    session: Session, webhook: Webhook, wish: Wish, *, outgoing: Outgoing, caller: Caller
) -> None:
    """Change what is wished of a webhook; whatever waits for it goes to its new address."""
    _apply(session, webhook, wish, outgoing=outgoing, caller=caller)
    if wish.url is not None:
        _begin_anew(webhook)
    _on_record(session, webhook, Act.WEBHOOK_CHANGED)


def enable(session: Session, webhook: Webhook) -> None:
    """Let a webhook be told again, of what happens from now on."""
    if webhook.disabled:
        webhook.disabled = False
        webhook.since = read_head(session).sequence
        _begin_anew(webhook)
        _on_record(session, webhook, Act.WEBHOOK_ENABLED)


def disable(session: Session, webhook: Webhook, *, reason: str = "asked for") -> None:
    """Tell a webhook of nothing any more."""
    if not webhook.disabled:
        webhook.disabled = True
        _on_record(session, webhook, Act.WEBHOOK_DISABLED, reason=reason)


def delete_webhook(session: Session, webhook: Webhook) -> None:
    """Remove a webhook with all that waits for it."""
    _on_record(session, webhook, Act.WEBHOOK_DELETED)
    session.delete(webhook)


def last_deliveries(session: Session, webhook: Webhook) -> Sequence[WebhookDelivery]:
    """Return what a webhook was told of, or is to be, the newest first."""
    query = select(WebhookDelivery).filter_by(webhook_id=webhook.id)
    return session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(MAX_SHOWN)).all()


def survey(session: Session) -> list[dict[str, Any]]:
    """Return what an administrator may know of all webhooks: no secret, of an address the host."""
    waiting = (
        select(func.count())
        .where(WebhookDelivery.webhook_id == Webhook.id, WebhookDelivery.status == "pending")
        .correlate(Webhook)
        .scalar_subquery()
    )
    query = select(Webhook, Namespace.name, waiting).join(
        Namespace, Namespace.id == Webhook.owner_id
    )
    return [
        {
            "id": webhook.id,
            "owner": owner,
            "host": urlsplit(webhook.url).hostname,
            "watched": [f"{one['type']}:{one['name']}" for one in webhook.watched],
            "disabled": webhook.disabled,
            "failures": webhook.failures,
            "waiting": count,
        }
        for webhook, owner, count in session.execute(query.order_by(Webhook.id))
    ]


def is_watched(webhook: Webhook, repository_id: int, *, kind: str, names: Sequence[str]) -> bool:
    """Say whether a webhook watches a repository that has, or had, these full names."""
    full = {name.lower() for name in names}
    namespaces = {name.partition("/")[0] for name in full}
    for one in webhook.watched:
        if one["type"] in _NAMESPACES:
            if one["name"].lower() in namespaces:
                return True
        elif one["type"] == kind and (
            one["id"] == repository_id if one["id"] else one["name"].lower() in full
        ):
            return True
    return False


def _apply(
    session: Session, webhook: Webhook, wish: Wish, *, outgoing: Outgoing, caller: Caller
) -> None:
    if wish.url is not None:
        outgoing.check(wish.url)
        webhook.url = wish.url
    if wish.watched:
        if len(wish.watched) > MAX_WATCHED:
            raise BadRequestError(f"A webhook watches at most {MAX_WATCHED} things.")
        webhook.watched = [_checked(session, one, caller) for one in wish.watched]
    if wish.domains is not None:
        if not wish.domains:
            raise BadRequestError("Say of what the webhook is told: 'repo', 'discussion' or both.")
        webhook.domains = sorted(set(wish.domains))
    if wish.secret is not None:
        if not _SECRET.fullmatch(wish.secret) or wish.secret.startswith("hf_"):
            raise BadRequestError(
                "A secret has 1 to 200 characters of ASCII, without spaces, and is no token of "
                "the public hub."
            )
        webhook.secret = wish.secret


def _checked(session: Session, one: Watched, caller: Caller) -> dict[str, Any]:
    """Return what is kept of a wish. Whether there is such a thing is nobody's business here."""
    repository = _REPOSITORIES.get(one.type)
    if repository is None and one.type not in _NAMESPACES:
        raise BadRequestError(
            f"This hub has no {quoted(one.type)}: a webhook watches a 'user', an 'org', a 'model' "
            "or a 'dataset'."
        )
    if not one.name or len(one.name) > MAX_NAME or not one.name.isprintable():
        raise BadRequestError(f"{quoted(one.name)} cannot be the name of a {one.type}.")
    number = None
    if repository is not None:
        namespace, slash, name = one.name.partition("/")
        if not slash:
            raise BadRequestError(f"{quoted(one.name)} is no full name: use 'namespace/name'.")
        try:
            number = see(session, RepositoryName(repository, namespace, name), caller).id
        except HubError:
            number = None  # it is watched once it is there, and readable
    return {"type": one.type, "name": one.name, "id": number}


def _begin_anew(webhook: Webhook) -> None:
    webhook.failures, webhook.failing_since, webhook.retry_at = 0, None, None


def _on_record(session: Session, webhook: Webhook, act: Act, **what: str) -> None:
    # Not the whole address: what follows the host may be a secret.
    parts: Mapping[str, Any] = {"webhook": webhook.id, "host": urlsplit(webhook.url).hostname}
    record(session, act, **parts, owner=webhook.owner_id, **what)
