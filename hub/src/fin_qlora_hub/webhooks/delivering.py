"""Telling webhooks: each record that one is to know of is sent to it, at least once.

The record of acts is the list of what is to be told, so nothing that happened is missed, whichever
server was killed when. A thread of the server reads on from where it, or another server, last was;
it makes one delivery for each webhook and record, and sends those that are due. Who sends one holds
it for a while: of several servers one sends it, and another only if that one is gone.
"""

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from fin_qlora_hub import __version__
from fin_qlora_hub.audit.record import read_head, read_rows
from fin_qlora_hub.errors import OperationalError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.tables import HubState, Webhook, WebhookDelivery
from fin_qlora_hub.outgoing import ForbiddenAddressError, Outgoing, OutgoingError
from fin_qlora_hub.webhooks.notices import EVENTS, VERSION, may_read, payload, subject_of
from fin_qlora_hub.webhooks.registry import disable, is_watched

LOOK_SECONDS = 1.0
SENDERS = 4
SECONDS = 10.0
MAX_ANSWER_BYTES = 64 * 1024
LEASE = timedelta(minutes=1)
MAX_ATTEMPTS = 12
MAX_PENDING = 10_000
# A place that has failed for so long is told of nothing any more.
PATIENCE = timedelta(days=3)
KEPT = timedelta(days=30)
_RECORDS_AT_ONCE = 1000
_TOLD = "webhooks_told"
PENDING, DELIVERED, FAILED, DROPPED = "pending", "delivered", "failed", "dropped"
_logger = logging.getLogger("fin_qlora_hub")


@dataclass(frozen=True)
class Job:
    """A delivery that this server holds, to be sent now."""

    id: int
    url: str
    secret: str | None
    body: bytes


@dataclass(frozen=True)
class Outcome:
    """What came of sending: the status of the answer, or what went wrong."""

    answer: int | None
    error: str | None = None

    @property
    def good(self) -> bool:
        """Whether the other side has taken it."""
        return self.answer is not None and 200 <= self.answer < 300


@contextmanager
def delivering(hub: Hub, *, url: str) -> Iterator["Courier"]:
    """Tell webhooks for a while; `url` is where clients find the hub."""
    courier = Courier(hub, url=hub.settings.public_url or url)
    courier.start()
    try:
        yield courier
    finally:
        courier.close()


class Courier:
    """Looks every second for what is to be told, and sends it in threads of its own."""

    def __init__(self, hub: Hub, *, url: str) -> None:
        self._database = hub.database
        self._outgoing = Outgoing.of(hub.settings)
        self._url = url.rstrip("/")
        self._told = 0
        self._cleared = datetime.min.replace(tzinfo=UTC)
        self._free = SENDERS
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="courier")
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, once what is being sent has been."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._senders.shutdown()

    def look(self) -> None:
        """Note what is to be told of new records, and send what is due."""
        with self._database.reading() as session:
            if (
                session.scalar(select(Webhook.id).where(Webhook.disabled.is_(False)).limit(1))
                is None
            ):
                return
            news = self._has_news(session)
            due = session.scalar(_due(datetime.now(UTC)).limit(1)) is not None
        if news or self._is_clearing_due():
            with self._database.writing() as session:
                self._told = spread(session, url=self._url)
                clear(session)
            due = True
        with self._guard:
            free = self._free
        if due and free:
            with self._database.writing() as session:
                jobs = lease(session, limit=free)
            for job in jobs:
                with self._guard:
                    self._free -= 1
                self._senders.submit(self._serve, job)

    def _has_news(self, session: Session) -> bool:
        head = read_head(session).sequence
        self._told = max(self._told, _read_told(session))
        if any(read_rows(session, EVENTS, after=self._told, limit=1)):
            return True
        self._told = max(self._told, head)  # nothing of what was done since is for webhooks
        return False

    def _is_clearing_due(self) -> bool:
        now = datetime.now(UTC)
        if now - self._cleared < timedelta(hours=1):
            return False
        self._cleared = now
        return True

    def _serve(self, job: Job) -> None:
        try:
            try:
                outcome = send(self._outgoing, job)
            except Exception:  # it counts like any failure: else it would be tried for ever
                _logger.exception("delivery %d of a webhook cannot be sent", job.id)
                outcome = Outcome(None, "It could not be sent: the hub's log says why.")
            with self._database.writing() as session:
                settle(session, job.id, outcome)
        except OperationalError as error:
            _logger.warning("a webhook will be told again: %s", error)
        except Exception:
            _logger.exception("a webhook could not be told")
        finally:
            with self._guard:
                self._free += 1
            self._wake.set()

    def _run(self) -> None:
        while not self._closing:
            try:
                self.look()
            except OperationalError as error:
                _logger.warning("webhooks are told later: %s", error)
            except Exception:
                _logger.exception("webhooks cannot be told")
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()


def spread(session: Session, *, url: str) -> int:
    """Make a delivery of each new record for each webhook that is to know; return the last number.

    The session must be a writing one: no other server does it meanwhile.
    """
    webhooks = session.scalars(select(Webhook).where(Webhook.disabled.is_(False))).all()
    told = _read_told(session)
    start = max(told, min((webhook.since for webhook in webhooks), default=told))
    last = start
    waiting = _waiting(session)
    rows = list(read_rows(session, EVENTS, after=start, limit=_RECORDS_AT_ONCE))
    for row in rows:
        last = row["sequence"]
        try:
            _spread_one(session, row, webhooks, waiting, url=url)
        except (LookupError, NoResultFound):  # else nobody would be told of anything any more
            _logger.exception("webhooks are not told of record %d", last)
    if len(rows) < _RECORDS_AT_ONCE:
        last = max(last, read_head(session).sequence)
    session.execute(update(HubState).where(HubState.name == _TOLD).values(value=str(last)))
    return last


def _spread_one(
    session: Session,
    row: dict[str, Any],
    webhooks: Sequence[Webhook],
    waiting: dict[int, int],
    *,
    url: str,
) -> None:
    subject = subject_of(session, row)
    if subject is None:
        return
    told: dict[str, Any] | None = None
    for webhook in webhooks:
        scope = EVENTS[row["act"]][1]
        if (
            row["sequence"] <= webhook.since
            or scope.partition(".")[0] not in webhook.domains
            or not is_watched(webhook, subject.id, kind=subject.kind, names=subject.names)
            or not may_read(session, webhook.owner_id, subject)
        ):
            continue
        if waiting.get(webhook.id, 0) >= MAX_PENDING:
            _logger.warning("webhook %d has too much to be told: it misses some", webhook.id)
            continue
        waiting[webhook.id] = waiting.get(webhook.id, 0) + 1
        told = told or payload(session, row, subject, url=url)
        now = datetime.now(UTC)
        session.add(
            WebhookDelivery(
                webhook_id=webhook.id,
                sequence=row["sequence"],
                payload={**told, "webhook": {"id": f"{webhook.id:024x}", "version": VERSION}},
                status=PENDING,
                due_at=now,
                created_at=now,
            )
        )


def lease(session: Session, *, limit: int) -> list[Job]:
    """Take deliveries that are due, at most one of each webhook, to be sent by this server alone.

    What the webhook's owner may no longer read is dropped. The session must be a writing one.
    """
    now = datetime.now(UTC)
    jobs = []
    for number in session.scalars(_due(now).limit(limit)).all():
        found = session.get_one(WebhookDelivery, number)
        webhook = session.get_one(Webhook, found.webhook_id)
        if not _may_still_read(session, webhook, found):
            found.status, found.error = DROPPED, "You may no longer read the repository."
            found.payload = {}
            continue
        found.leased_until = now + LEASE
        body = json.dumps(found.payload).encode()
        jobs.append(Job(found.id, webhook.url, webhook.secret, body))
    return jobs


def send(outgoing: Outgoing, job: Job) -> Outcome:
    """Send a delivery; only an answer of the kind "done" counts, and no redirect is followed."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"fin-qlora-hub/{__version__}",
        "X-Webhook-Delivery": str(job.id),
    }
    if job.secret is not None:
        headers["X-Webhook-Secret"] = job.secret
    try:
        answer = outgoing.send(
            job.url,
            method="POST",
            body=job.body,
            headers=headers,
            seconds=SECONDS,
            max_bytes=MAX_ANSWER_BYTES,
        )
    except ForbiddenAddressError as error:
        _logger.warning("a webhook has an address that is not called: %s", error)
        # Which address a name has in here is nothing that whoever chose the name should learn.
        return Outcome(None, "The address is none that this hub calls.")
    except OutgoingError as error:
        return Outcome(None, str(error)[:300])
    return Outcome(answer.status)


def settle(session: Session, number: int, outcome: Outcome) -> None:
    """Note what came of a delivery, and when to try again."""
    found = session.get(WebhookDelivery, number)
    if found is None:  # the webhook was deleted meanwhile
        return
    webhook = session.get_one(Webhook, found.webhook_id)
    now = datetime.now(UTC)
    found.attempts += 1
    found.leased_until, found.answer, found.error = None, outcome.answer, outcome.error
    if outcome.good:
        found.status = DELIVERED
        webhook.failures, webhook.failing_since, webhook.retry_at = 0, None, None
        return
    webhook.failures += 1
    webhook.failing_since = webhook.failing_since or now
    webhook.retry_at = now + timedelta(seconds=min(5 * 2 ** min(webhook.failures, 10), 300))
    found.due_at = now + timedelta(seconds=min(10 * 4 ** (found.attempts - 1), 6 * 3600))
    if found.attempts >= MAX_ATTEMPTS:
        found.status = FAILED
    if now - webhook.failing_since >= PATIENCE:
        disable(session, webhook, reason=f"failing since {webhook.failing_since:%Y-%m-%d %H:%M}")


def clear(session: Session) -> None:
    """Forget deliveries of long ago, and give up those that have waited as long."""
    before = datetime.now(UTC) - KEPT
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.created_at < before))


def drop_waiting(session: Session) -> None:
    """Send nothing of what waits: in a hub made from a backup it is of long ago."""
    waiting = update(WebhookDelivery).where(WebhookDelivery.status == PENDING)
    session.execute(waiting.values(status=DROPPED, error="The hub was restored from a backup."))
    head = str(read_head(session).sequence)
    session.execute(update(HubState).where(HubState.name == _TOLD).values(value=head))


def _due(now: datetime) -> Any:
    busy = select(WebhookDelivery.webhook_id).where(
        WebhookDelivery.status == PENDING, WebhookDelivery.leased_until > now
    )
    return (
        select(func.min(WebhookDelivery.id))
        .select_from(WebhookDelivery)
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .where(
            WebhookDelivery.status == PENDING,
            WebhookDelivery.due_at <= now,
            Webhook.disabled.is_(False),
            or_(Webhook.retry_at.is_(None), Webhook.retry_at <= now),
            Webhook.id.not_in(busy),
        )
        .group_by(WebhookDelivery.webhook_id, Webhook.failures)
        # Places that hang take up a sender for long: all others come first.
        .order_by(Webhook.failures, func.min(WebhookDelivery.id))
    )


def _may_still_read(session: Session, webhook: Webhook, found: WebhookDelivery) -> bool:
    row = next(read_rows(session, EVENTS, after=found.sequence - 1, limit=1), None)
    if row is None or row["sequence"] != found.sequence:  # somebody cut the record
        return False
    subject = subject_of(session, row)
    return subject is not None and may_read(session, webhook.owner_id, subject)


def _waiting(session: Session) -> dict[int, int]:
    query = (
        select(WebhookDelivery.webhook_id, func.count())
        .where(WebhookDelivery.status == PENDING)
        .group_by(WebhookDelivery.webhook_id)
    )
    return {webhook_id: count for webhook_id, count in session.execute(query)}  # noqa: C416


def _read_told(session: Session) -> int:
    return int(session.scalar(select(HubState.value).where(HubState.name == _TOLD)) or 0)
