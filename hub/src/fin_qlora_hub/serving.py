"""Running the server, from the lock on its data directory to the last answer."""

import gc
import logging
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from fin_qlora_hub.app import create_app
from fin_qlora_hub.errors import AddressError
from fin_qlora_hub.hub import Hub, keep_private, open_hub
from fin_qlora_hub.metadata.database import open_database, place_of
from fin_qlora_hub.metadata.locking import lock_data_dir
from fin_qlora_hub.metadata.schema import migrate, require_newest_form
from fin_qlora_hub.routes.connections import Connection
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.webhooks.delivering import delivering

GRACE_SECONDS = 10
_logger = logging.getLogger("fin_qlora_hub")
# Whoever reads the log must not be able to use an address that was signed for somebody, nor learn
# which chunks somebody has. Names of parameters are matched wherever one of these stands in them.
_SECRET_NAMES = "grant|part|token|secret|sig|credential|code|key|password|state"
_SECRETS = re.compile(
    rf"([?&][^=&]*(?:{_SECRET_NAMES})[^=&]*=)[^&\s]*|(/xet/.*/chunks/[^/]*/).*", re.IGNORECASE
)


class WithoutSecrets(logging.Filter):
    """Takes signatures out of the addresses in the log of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and keep it."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                _SECRETS.sub(r"\1\2...", value) if isinstance(value, str) else value
                for value in record.args
            )
        return True


class Server(uvicorn.Server):
    """A uvicorn server that says when it listens and takes a signal as a wish, not a death."""

    def __init__(
        self, app: ASGIApp, *, on_listening: Callable[[], None], trusted_proxies: str = ""
    ) -> None:
        config = uvicorn.Config(
            app,
            server_header=False,
            log_config=None,
            lifespan="off",
            http=Connection,
            ws="none",
            loop="uvloop",
            # Left to itself, it believes whatever any program on this machine says of a client.
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=trusted_proxies,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        super().__init__(config)
        log = logging.getLogger("uvicorn.access")
        if not any(isinstance(known, WithoutSecrets) for known in log.filters):
            log.addFilter(WithoutSecrets())
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, then say so."""
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in order on SIGINT and SIGTERM; uvicorn's own version would then die of them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        previous = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def serve(settings: Settings, *, host: str, port: int, on_listening: Callable[[str], None]) -> None:
    """Serve a data directory until a signal comes; `on_listening` gets the URL once it answers.

    Port 0 takes any free one. Raises NotInitialisedError, AlreadyServedError or AddressError.
    """
    open_database(place_of(settings)).close()
    require_newest_form(place_of(settings), older=True)
    keep_private(settings)
    with lock_data_dir(settings) as lock, _listen(host, port) as listener, _open(settings) as hub:
        if lock.alone:
            swept = hub.storage.sweep() + hub.parts.sweep()
            if swept:
                _logger.warning("removed %d files of interrupted uploads", swept)
        if settings.database_url is not None:
            lock.let_others_in()
        server = Server(
            create_app(hub),
            on_listening=lambda: on_listening(_url(listener)),
            trusted_proxies=settings.trusted_proxies,
        )
        with delivering(hub, url=_url(listener)):
            # What is loaded stays: looking through it again would stop all requests for a while.
            gc.freeze()
            server.run(sockets=[listener])


@contextmanager
def _open(settings: Settings) -> Iterator[Hub]:
    migrate(place_of(settings))
    with open_hub(settings) as hub:
        yield hub


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise AddressError(
                f"The hub cannot listen on {host}:{port} ({reason}): choose another --host or "
                "--port; --port 0 takes any free one."
            ) from error
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
