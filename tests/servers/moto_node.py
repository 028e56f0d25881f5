"""moto's S3, which keeps everything in memory and believes every signature: `moto_node.py`.

Prints the port that it took on loopback, and serves until its standard input ends. Objects grow old
at once by `POST /throwaway/age?bucket=BUCKET&prefix=PREFIX&days=DAYS`.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

AGING = "/throwaway/age"


def with_aging(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Answer the one address that no S3 has, and leave the others to moto."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != AGING:
            return app(environ, start)
        asked = dict(parse_qsl(environ["QUERY_STRING"]))
        for backend in (found for account in s3_backends.values() for found in account.values()):
            if asked["bucket"] in backend.buckets:
                for name, stored in backend.buckets[asked["bucket"]].keys.items():
                    if name.startswith(asked["prefix"]):
                        stored.last_modified -= timedelta(days=float(asked["days"]))
        start("200 OK", [("Content-Length", "0")])
        return []

    return answer


def serve() -> None:
    """Answer each connection in a thread of its own."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = with_aging(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    serve()
