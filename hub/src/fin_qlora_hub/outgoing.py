"""Requests that the hub itself sends: to addresses that were checked, and no others.

Whoever can make the hub send requests must not reach what only the hub's machine can reach. So a
name is resolved once, every address that it has is checked, and the connection goes to one of those
addresses: a name that says something else a moment later changes nothing. No redirect is followed,
no proxy is used, and neither a long nor a slow answer keeps the hub.
"""

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from fin_qlora_hub.errors import BadRequestError, OperationalError
from fin_qlora_hub.settings import Settings

SECONDS = 10.0
IDLE_SECONDS = 30.0
# What an answer of unknown length must bring in each while, not to count as idle.
IDLE_BYTES = 64 * 1024
MAX_BYTES = 1024 * 1024
MAX_URL = 2048
# Signed addresses, to which another hub sends this one, are longer than those that people write.
MAX_STREAMED_URL = 8192
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PIECE_BYTES = 1024 * 1024
_PORTS = {"http": 80, "https": 443}
# Not public, though Python's `is_global` says so, or did in some version: ways to IPv4 machines,
# and what belongs to nobody on the Internet.
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        (
            *("192.0.0.0/24", "192.88.99.0/24", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64"),
            *("2001::/23", "2002::/16", "fec0::/10"),
        ),
    )
)
# How systems take a number for an IPv4 address: 2130706433, 0x7f.1, 0177.0.0.1.
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")


class OutgoingError(OperationalError):
    """Another server could not be asked, or its answer is no use."""


class ForbiddenAddressError(BadRequestError):
    """An address that the hub must not send requests to."""


@cache
def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()  # also of the authorities in SSL_CERT_FILE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True)
class Answer:
    """What another server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, eq=False)
class Streamed:
    """What another server says, while it still says it; its bytes are to be read once."""

    status: int
    headers: Mapping[str, str]
    _host: str
    _connection: "_Plain" = field(repr=False)
    _answer: http.client.HTTPResponse = field(repr=False)
    _idle_seconds: float

    def break_off(self) -> None:
        """Let whoever reads fail at once, in whatever thread."""
        _break_off(self._connection)

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes as they come; raises OutgoingError where they end too early or crawl."""
        waited, got = 0.0, 0
        while True:
            asked = time.monotonic()
            with _failures_named(self._host):
                piece = self._answer.read1(_PIECE_BYTES)
                if not piece and self._answer.length:
                    raise http.client.IncompleteRead(b"", self._answer.length)
                waited, got = waited + time.monotonic() - asked, got + len(piece)
                if waited > self._idle_seconds and got < IDLE_BYTES:
                    raise TimeoutError("it answers too slowly")
            if not piece:
                return
            if waited > self._idle_seconds:
                waited, got = 0.0, 0
            yield piece


@dataclass(frozen=True)
class Outgoing:
    """Sends requests to public addresses, and to those of `networks`, which an administrator names.

    Only in those networks may an address begin with `http://`. Where there are `hosts`, no others
    are asked, public or not; one that begins with a dot stands for all names that end so.
    """

    networks: Sequence[Network] = ()
    hosts: Sequence[str] = ()
    tls: ssl.SSLContext = field(default_factory=_trusting, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> "Outgoing":
        """Return what sends requests as the settings of a hub allow it."""
        return cls(settings.outgoing_networks, settings.outgoing_hosts)

    def check(self, url: str, *, limit: int = MAX_URL) -> None:
        """Refuse an address that may never be asked, whatever its name says at the moment."""
        scheme, host, _port, _target = _parts(url, limit=limit)
        if self.hosts and not any(_is_named(host, known.lower()) for known in self.hosts):
            raise ForbiddenAddressError(
                f"{host} is none of the hosts that this hub sends requests to: an administrator "
                "may add it to FIN_QLORA_HUB_OUTGOING_HOSTS."
            )
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            if scheme == "http" and not self.networks:
                raise ForbiddenAddressError(
                    f"{url!r} is not protected on the way: use https://."
                ) from None
        else:
            self._require(address, scheme)

    def send(
        self,
        url: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = SECONDS,
        max_bytes: int = MAX_BYTES,
    ) -> Answer:
        """Send one request; all of it, once the name is looked up, ends within `seconds`.

        Raises ForbiddenAddressError or OutgoingError; any status of the other server is an answer.
        """
        end = time.monotonic() + seconds
        host, target, connection = self._connection(url, end=end)
        # The one clock that a server cannot reset by sending a byte now and then.
        timer = threading.Timer(seconds, _break_off, (connection,))
        timer.daemon = True
        timer.start()
        try:
            connection.request(method, target, body=body, headers=dict(headers or {}))
            with closing(connection.getresponse()) as answer:
                read, missing = answer.read(max_bytes + 1), answer.length
            if len(read) > max_bytes:
                raise OutgoingError(f"{host} answered with more than {max_bytes:,} bytes.")
            if time.monotonic() >= end:
                raise TimeoutError("too slow")
            if missing:
                raise http.client.IncompleteRead(read, missing)
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, read)
        except (OSError, http.client.HTTPException, UnicodeError, ValueError) as error:
            reason = "it took too long" if time.monotonic() >= end else _reason(error)
            raise OutgoingError(f"{host} could not be asked: {reason}.") from error
        finally:
            timer.cancel()
            connection.close()

    @contextmanager
    def stream(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> Iterator[Streamed]:
        """Ask for something long: it begins within `seconds`, and then never stops for long.

        Raises ForbiddenAddressError or OutgoingError, also while the bytes are read.
        """
        end = time.monotonic() + seconds
        host, target, connection = self._connection(url, end=end, limit=MAX_STREAMED_URL)
        timer = threading.Timer(seconds, _break_off, (connection,))
        timer.daemon = True
        timer.start()
        try:
            with _failures_named(host):
                connection.request("GET", target, headers=dict(headers or {}))
                answer = connection.getresponse()
                timer.cancel()
                if time.monotonic() >= end:
                    raise TimeoutError("it took too long")
                if connection.opened is not None:
                    connection.opened.settimeout(idle_seconds)
            found = {name.lower(): value for name, value in answer.getheaders()}
            with closing(answer):
                yield Streamed(answer.status, found, host, connection, answer, idle_seconds)
        finally:
            timer.cancel()
            connection.close()

    def _connection(
        self, url: str, *, end: float, limit: int = MAX_URL
    ) -> tuple[str, str, "_Plain"]:
        """Return the host, what to ask it for, and a connection that is not open yet."""
        self.check(url, limit=limit)
        scheme, host, port, target = _parts(url, limit=limit)
        if scheme == "https":
            return host, target, _Tls(self, host, port, end=end, context=self.tls)
        return host, target, _Plain(self, host, port, end=end)

    def connect(self, host: str, port: int, *, scheme: str, end: float) -> socket.socket:
        """Open a connection to an address of a host, after a look at all that it has."""
        found = _places(host, port, end=end)
        for *_, place in found:
            self._require(ipaddress.ip_address(str(place[0]).partition("%")[0]), scheme)
        failure: OSError = OSError("it has no address")
        for family, kind, protocol, _, place in found:
            left = end - time.monotonic()
            if left <= 0:
                break
            opened = socket.socket(family, kind, protocol)
            try:
                opened.settimeout(left)
                opened.connect(place)
            except OSError as error:
                opened.close()
                failure = error
            else:
                return opened
        raise failure

    def _require(self, address: Address, scheme: str) -> None:
        inner = getattr(address, "ipv4_mapped", None) or address
        if any(_holds(network, inner) for network in self.networks):
            return
        if scheme != "https":
            raise ForbiddenAddressError(
                "Addresses that begin with http:// are asked only in the networks of "
                "FIN_QLORA_HUB_OUTGOING_NETWORKS: use https://."
            )
        closed = any(inner.version == known.version and inner in known for known in _NOT_PUBLIC)
        if closed or inner.is_multicast or inner.is_reserved or not inner.is_global:
            raise ForbiddenAddressError(
                f"{address} is no public address: the hub sends nothing there unless an "
                "administrator names its network in FIN_QLORA_HUB_OUTGOING_NETWORKS."
            )


class _Plain(http.client.HTTPConnection):
    scheme = "http"

    def __init__(self, guard: Outgoing, host: str, port: int, *, end: float) -> None:
        super().__init__(host, port)
        self._guard, self._end = guard, end
        self.opened: socket.socket | None = None  # also once `sock` is handed to the answer

    def connect(self) -> None:
        self.sock = self._guard.connect(self.host, self.port, scheme=self.scheme, end=self._end)
        self.opened = self.sock


class _Tls(_Plain):
    scheme = "https"
    default_port = 443

    def __init__(
        self, guard: Outgoing, host: str, port: int, *, end: float, context: ssl.SSLContext
    ) -> None:
        super().__init__(guard, host, port, end=end)
        self._context = context

    def connect(self) -> None:
        super().connect()
        secured = self._context.wrap_socket(
            self.sock, server_hostname=self.host, do_handshake_on_connect=False
        )
        self.sock = self.opened = secured
        secured.do_handshake()


def _parts(url: str, *, limit: int = MAX_URL) -> tuple[str, str, int, str]:
    """Return scheme, host, port and what stands behind them; raises ForbiddenAddressError."""
    wrong = ForbiddenAddressError(
        "An address must be written as https://host/path, in plain characters, without a user, "
        f"a password or '#', and with at most {limit:,} characters."
    )
    if len(url) > limit or not url.isascii() or not url.isprintable() or set(url) & set(" \\"):
        raise wrong
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        raise wrong from None
    host = split.hostname or ""
    if _is_odd(host, split.netloc):
        raise wrong
    if split.scheme not in _PORTS or not host or "@" in split.netloc or "#" in url or port == 0:
        raise wrong
    target = (split.path or "/") + (f"?{split.query}" if split.query else "")
    return split.scheme, host, port or _PORTS[split.scheme], target


def _is_named(host: str, known: str) -> bool:
    host = host.removesuffix(".")
    return host == known or (known.startswith(".") and host.endswith(known))


def _is_odd(host: str, netloc: str) -> bool:
    """Say whether systems could take a host for an address that is written in another way."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        last = host.removesuffix(".").rpartition(".")[2]
        return bool(_NUMBER.fullmatch(last)) or bool(set("[]%") & set(netloc))
    return "%" in host


def _holds(network: Network, address: Address) -> bool:
    """Say whether an administrator means an address by a network.

    At link-local ones clouds give out their secrets: they are meant only where they are named.
    """
    return (
        network.version == address.version
        and address in network
        and (network.is_link_local or not address.is_link_local)
    )


def _places(host: str, port: int, *, end: float) -> list[tuple[Any, ...]]:
    """Look a name up in a thread of its own: the system's resolver knows no limit of time."""
    found: list[list[tuple[Any, ...]]] = []
    failed: list[Exception] = []

    def look() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=look, name="resolver", daemon=True)
    thread.start()
    thread.join(max(0.0, end - time.monotonic()))
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError("its name was not found in time")
    return found[0]


def _break_off(connection: _Plain) -> None:
    if connection.opened is not None:
        with suppress(OSError):
            # Not `SSLSocket.shutdown`, which must not run beside a reading.
            socket.socket.shutdown(connection.opened, socket.SHUT_RDWR)


@contextmanager
def _failures_named(host: str) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, UnicodeError, ValueError) as error:
        raise OutgoingError(f"{host} could not be asked: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.rstrip(".")
