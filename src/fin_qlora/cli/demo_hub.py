"""A hub of one's own for the time of a demonstration: free port, temporary store, one user."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import HubUnreachableError, MissingDependencyError
from .processes import python_module

_MODULE = "fin_qlora_hub"
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0

#: Settings of the user's own hub and cache, which must not reach into the demonstration.
_FOREIGN = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "FIN_QLORA_HUB_")


@dataclass(frozen=True, kw_only=True)
class DemoHub:
    """A running hub and the environment in which every program sees it and nothing else."""

    url: str
    token: str
    environment: dict[str, str]


@contextlib.contextmanager
def demo_hub(place: Path, *, user: str) -> Iterator[DemoHub]:
    """Start ``fin-qlora-hub`` on a free loopback port and stop it when the block ends, however.

    Args:
        place: an empty folder for its store, its log and the clients' cache.
        user: the one user; the yielded token may write in their namespace.

    Raises:
        MissingDependencyError: fin-qlora-hub is not installed.
        HubUnreachableError: it did not start; the end of its log is in the sentence.
    """
    if importlib.util.find_spec(_MODULE) is None:
        raise MissingDependencyError(
            "fin-qlora-hub is not installed.", fix="Install it: pip install 'fin-qlora[hub]'."
        )
    store = ["--data-dir", str(place / "store")]
    _administer("init", *store)
    _administer("user", "add", user, *store)
    token = _administer(
        "token", "create", user, "--name", "demo", "--role", "write", "--format", "quiet", *store
    )
    log, said = place / "hub.log", place / "hub.out"
    command = python_module(
        _MODULE, "serve", *store, "--host", "127.0.0.1", "--port", "0", "--format", "json"
    )
    with log.open("wb") as errors, said.open("wb") as output:
        # a group of its own: Ctrl-C is for us, who stop it when nobody needs it any more
        server = subprocess.Popen(
            command,
            env=_own_environment(),
            stdout=output,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
    try:
        url = _address(server, said, log)
        yield DemoHub(url=url, token=token, environment=_environment(url, token, place))
    finally:
        server.terminate()
        try:
            server.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _administer(*arguments: str) -> str:
    done = subprocess.run(
        python_module(_MODULE, *arguments),
        env=_own_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HubUnreachableError(
            f"`fin-qlora-hub {' '.join(arguments[:2])}` failed: {_last_line(done.stderr)}",
            fix="Check that fin-qlora-hub and fin-qlora have the same version.",
        )
    return done.stdout.strip()


def _address(server: subprocess.Popen[bytes], said: Path, log: Path) -> str:
    """Wait for the line that tells the port."""
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        first, newline, _ = said.read_text(encoding="utf-8").partition("\n")
        if newline:
            return str(json.loads(first)["url"])
        time.sleep(0.05)
    raise HubUnreachableError(
        f"The demo's hub did not start: {_last_line(log.read_text(encoding='utf-8'))}",
        fix="Run `fin-qlora doctor`.",
    )


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


def _environment(url: str, token: str, place: Path) -> dict[str, str]:
    own = _own_environment()
    # a proxy of the institution must not be asked for our own loopback address
    direct = ",".join(filter(None, [own.get("NO_PROXY") or own.get("no_proxy"), "127.0.0.1"]))
    return {
        **own,
        "HF_ENDPOINT": url,
        "HF_TOKEN": token,
        "HF_HOME": str(place / "cache"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
