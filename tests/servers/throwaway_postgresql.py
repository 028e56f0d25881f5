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
from contextlib import suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path

USERS = ("postgres", "nobody")


def find_programs() -> Path | None:
    """The folder that holds initdb and postgres."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = find_spec("pgserver")
    if found is not None and found.origin:
        folders.append(Path(found.origin).parent / "pginstall" / "bin")
    wanted = ("initdb", "postgres", "pg_ctl")
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
        self._run("initdb", "-A", "trust", "-U", "hub", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' "
            f"-c max_connections={connections} -c fsync=off"
        )
        self.start()

    def start(self) -> None:
        log = str(self._folder / "log")
        self._run("pg_ctl", "-w", "-t", "60", "-l", log, "-o", self._options, "start")

    def stop(self) -> None:
        """Stop the server at once, as a crash would."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def new_database(self, *options: str) -> str:
        """Make an empty database and return its address."""
        import psycopg

        name = f"hub_{next(self._numbers)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {' '.join(options)}")
        return self._url(name)

    def remove(self) -> None:
        with suppress(RuntimeError):  # a test has stopped it
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _url(self, database: str) -> str:
        return f"postgresql://hub@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        # Not a pipe: the server that pg_ctl starts would keep it open.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                [str(self._programs / program), "-D", str(self._folder / "data"), *arguments],
                user=self._user,
                group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
                extra_groups=None if self._user is None else [],
                cwd=self._folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                timeout=120,
                check=False,
            )
            if done.returncode:
                said.seek(0)
                raise RuntimeError(f"{program} failed:\n{said.read()}")


def _user() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in USERS if name in known)
