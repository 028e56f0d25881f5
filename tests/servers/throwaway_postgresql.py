"""A PostgreSQL server of the tests' own: on loopback, in a folder that goes when they end.

Its programs are those on PATH, of a Debian package (/usr/lib/postgresql) or of the package
`pgserver` from PyPI. PostgreSQL refuses to run as root, so root runs it as another user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

# The pipe closes when this process ends, even by a signal that it cannot catch.
_AS_LONG_AS_SOMEBODY_WRITES = '"$@" & server=$!; cat >/dev/null; kill -QUIT $server; wait $server'
USERS = ("postgres", "nobody")


def find_programs() -> Path | None:
    """The folder that holds initdb and postgres."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = find_spec("pgserver")
    if found is not None and found.origin:
        folders.append(Path(found.origin).parent / "pginstall" / "bin")
    wanted = ("initdb", "postgres")
    return next((f for f in folders if all((f / name).is_file() for name in wanted)), None)


class PostgreSQL:
    """A running server; `new_database` makes an empty database on it."""

    def __init__(self, *, connections: int = 200) -> None:
        programs = find_programs()
        if programs is None:
            raise RuntimeError("there is no PostgreSQL: pip install pgserver, or apt postgresql")
        self._programs = programs
        self._user = _user() if os.getuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="throwaway-postgresql-"))
        self._numbers = count()
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        words = "-A trust -U hub -E UTF8 --locale=C.UTF-8 -N".split()
        made = subprocess.run(
            [str(programs / "initdb"), "-D", str(self._folder / "data"), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
            **self._as_user(),
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed:\n{made.stdout}")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": connections,
            "fsync": "off",
        }
        self._options = ["-p", str(self.port)]
        for name, value in settings.items():
            self._options += ["-c", f"{name}={value}"]
        self.start()

    def start(self) -> None:
        """Start the server; it ends with this process, however that ends."""
        server = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", _AS_LONG_AS_SOMEBODY_WRITES, "sh", *server, *self._options],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                **self._as_user(),
            )
        self._wait()

    def stop(self) -> None:
        """Stop the server at once, as a crash would."""
        if self._process is not None:
            self._process.communicate(timeout=60)
            self._process = None

    def _wait(self) -> None:
        import psycopg

        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self._url("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return

    def new_database(self, *options: str) -> str:
        """Make an empty database and return its address."""
        import psycopg

        name = f"hub_{next(self._numbers)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {' '.join(options)}")
        return self._url(name)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _url(self, database: str) -> str:
        return f"postgresql://hub@127.0.0.1:{self.port}/{database}"

    def _as_user(self) -> dict[str, Any]:
        common = {"cwd": self._folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}}
        if self._user is None:
            return common
        group = pwd.getpwnam(self._user).pw_gid
        return {**common, "user": self._user, "group": group, "extra_groups": []}


def _user() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in USERS if name in known)
