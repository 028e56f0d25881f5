"""How often one user or one address may ask; every server process counts for itself.

Each has a bucket of a minute's requests, which fills again all the time: short bursts pass.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address
from math import ceil

from fastapi import Request

from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.errors import TooManyRequestsError
from fin_qlora_hub.settings import Settings

MINUTE = 60.0
MAX_REMEMBERED = 20_000


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rate:
    """Lets so many things a minute happen for each key; 0 means any number."""

    def __init__(self, per_minute: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._now = now
        self._buckets: dict[object, _Bucket] = {}

    def take(self, key: object) -> None:
        """Count one; raises TooManyRequestsError."""
        if not self.per_minute:
            return
        bucket = self._filled(key)
        if bucket.left < 1:
            raise self._refusal(bucket)
        bucket.left -= 1

    def require(self, key: object) -> None:
        """Raise TooManyRequestsError where `take` would, without counting."""
        if self.per_minute and key in self._buckets:
            bucket = self._filled(key)
            if bucket.left < 1:
                raise self._refusal(bucket)

    def _refusal(self, bucket: _Bucket) -> TooManyRequestsError:
        seconds = ceil((1 - bucket.left) * MINUTE / self.per_minute)
        return TooManyRequestsError(seconds, per_minute=self.per_minute)

    def _filled(self, key: object) -> _Bucket:
        now = self._now()
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= MAX_REMEMBERED:
                self._forget_full(now)
            bucket = self._buckets[key] = _Bucket(self.per_minute, now)
        bucket.left = self._left(bucket, now)
        bucket.at = now
        return bucket

    def _left(self, bucket: _Bucket, now: float) -> float:
        gained = (now - bucket.at) * self.per_minute / MINUTE
        return min(bucket.left + gained, self.per_minute)

    def _forget_full(self, now: float) -> None:
        full = [k for k, one in self._buckets.items() if self._left(one, now) >= self.per_minute]
        if len(full) < MAX_REMEMBERED // 10:  # else the next ones would look through all again
            full += list(self._buckets)[: MAX_REMEMBERED // 2]
        for key in full:
            self._buckets.pop(key, None)


class Limits:
    """The rates of one server, and which tokens were good of late."""

    def __init__(self, settings: Settings) -> None:
        self._requests = Rate(settings.requests_per_minute)
        self._costly = Rate(settings.costly_requests_per_minute)
        self._failures = Rate(settings.failures_per_minute)
        self._good: dict[str, None] = {}

    def count(self, request: Request, caller: Caller | None) -> None:
        """Count a request of a user, or of the address of one who sent no token."""
        self._requests.take(_key(request, caller))

    def count_costly(self, request: Request, caller: Caller | None) -> None:
        """Count a request that costs far more than a look at one repository."""
        self._costly.take(_key(request, caller))

    def fail(self, request: Request) -> None:
        """Count a secret that was wrong; raises TooManyRequestsError after too many."""
        self._failures.take(network_of(request))

    def require_trust(self, request: Request, digest: str) -> None:
        """Refuse to try another secret from where too many were wrong.

        One that was good of late is tried all the same: others may sit behind the same address.
        """
        if digest not in self._good:
            self._failures.require(network_of(request))

    def trust(self, digest: str) -> None:
        """Remember that a secret was good."""
        if digest not in self._good:
            while len(self._good) >= MAX_REMEMBERED:
                del self._good[next(iter(self._good))]
            self._good[digest] = None

    def distrust(self, digest: str) -> None:
        """Forget that a secret was good: it expired, or somebody ended it."""
        self._good.pop(digest, None)


def limits_of(request: Request) -> Limits:
    """Return what counts the requests of this server."""
    limits = request.app.state.limits
    assert isinstance(limits, Limits)
    return limits


def address_of(request: Request) -> str:
    """Return where a request comes from, as far as the server or a trusted proxy knows."""
    return request.client.host if request.client else ""


def network_of(request: Request) -> str:
    """Return what counts as one place that requests come from.

    Whoever has one address of IPv6 has all 2**64 of its network.
    """
    host = address_of(request)
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def _key(request: Request, caller: Caller | None) -> object:
    return network_of(request) if caller is None else caller.user_id
