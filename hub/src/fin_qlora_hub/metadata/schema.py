"""The form of the tables: which one a database has, and the way to the newest."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import URL, Connection

from fin_qlora_hub.errors import NotInitialisedError, StorageFullError, UnusableDataError
from fin_qlora_hub.metadata import postgresql
from fin_qlora_hub.metadata.database import (
    Place,
    described,
    faults_named,
    how_to_initialise,
    make_engine,
    writing_engine,
)

MIGRATIONS = "fin_qlora_hub:migrations"


def current_form(place: Place) -> str | None:
    """Return the name of the form that a database has, None for an empty one.

    Raises UnusableDataError for one that this hub did not make.
    """
    tables, form = _forms_of_file(place) if isinstance(place, Path) else _forms_of_server(place)
    if form is not None:
        return form
    if tables - {"alembic_version"}:
        elsewhere = "choose another database" if isinstance(place, URL) else "move it away"
        raise UnusableDataError(
            f"{described(place)} is half made or belongs to another program: {elsewhere}, then run "
            f"{how_to_initialise(place)}."
        )
    return None


def _forms_of_file(path: Path) -> tuple[set[str], str | None]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            rows = []
            if "alembic_version" in tables:
                rows = database.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.Error as error:
        raise UnusableDataError(
            f"{path} is not the database of a hub ({error}): move it away, or choose another "
            "--data-dir."
        ) from error
    return tables, str(rows[0][0]) if rows else None


def _forms_of_server(url: URL) -> tuple[set[str], str | None]:
    engine = make_engine(url, connections=1)
    try:
        with faults_named(url), engine.connect() as connection:
            return postgresql.forms(connection)
    finally:
        engine.dispose()


def require_newest_form(place: Place, *, older: bool = False) -> None:
    """Refuse a database that this version cannot work with; `older` ones pass if told so."""
    found = current_form(place)
    name = place.parent if isinstance(place, Path) else described(place)
    if found is None:
        holds = "holds an empty database" if isinstance(place, Path) else "is empty"
        raise NotInitialisedError(f"{name} {holds}: run {how_to_initialise(place)} first.")
    known = _known_forms(place, found, migrations=MIGRATIONS)
    if not older and found != known[0]:
        raise NotInitialisedError(
            f"{name} has tables of form {found}, this version needs {known[0]}: stop the "
            f"server, then run {how_to_initialise(place)}."
        )


def migrate(
    place: Place,
    *,
    migrations: str | None = None,
    target: str = "head",
    then: Callable[[Connection], None] = lambda _connection: None,
) -> str:
    """Bring the tables to the newest form, or to `target`; return the name of that form.

    What is to be done `then` belongs to the same transaction.

    A SQLite file with data is copied first, beside itself. Foreign keys are off meanwhile, since
    SQLite changes a table by making it anew, which would delete all that refers to the old one;
    they are checked before anything becomes final. On PostgreSQL all happens in one transaction,
    under the lock of those who write: of servers that start together one does it.
    """
    from alembic import command
    from alembic.config import Config

    found = current_form(place) if isinstance(place, URL) or place.is_file() else None
    migrations = migrations or MIGRATIONS
    newest, *_ = _known_forms(place, found, migrations=migrations)
    wanted = newest if target == "head" else target
    if found == wanted:
        return wanted
    if found is not None and isinstance(place, Path):
        _copy(place, form=found)
    configuration = Config()
    configuration.set_main_option("script_location", migrations)
    engine = writing_engine(place)
    try:
        with faults_named(place), engine.begin() as connection:
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, target)
            then(connection)
            if isinstance(place, Path):
                _check_references(connection, place, form=wanted)
    finally:
        engine.dispose()
    return wanted


def _check_references(connection: Connection, path: Path, *, form: str) -> None:
    dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if dangling:
        raise UnusableDataError(
            f"{path} cannot be brought to form {form}: {len(dangling)} rows of "
            f"{dangling[0][0]!r} refer to what is not there. Nothing was changed."
        )


def _known_forms(place: Place, found: str | None, *, migrations: str) -> tuple[str, ...]:
    """Return all forms of this version, newest first; refuse a database of any other."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    configuration = Config()
    configuration.set_main_option("script_location", migrations)
    scripts = ScriptDirectory.from_config(configuration).walk_revisions()
    known = tuple(script.revision for script in scripts)
    if found is not None and found not in known:
        name = place.parent if isinstance(place, Path) else described(place)
        raise UnusableDataError(
            f"{name} has tables of form {found}, made by a newer version of the hub; this "
            f"one knows up to {known[0]}: install that version."
        )
    return known


def _vacuum_into(path: Path, copy: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("VACUUM INTO ?", (str(copy),))


def _copy(path: Path, *, form: str) -> None:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    copy = path.with_name(f"{path.name}.form-{form}-{now}")
    try:
        _vacuum_into(path, copy)
    except sqlite3.Error as error:
        copy.unlink(missing_ok=True)
        raise StorageFullError(
            f"{path} could not be copied to {copy.name} before the change of its tables ({error}): "
            "nothing was changed. Free space, then try again."
        ) from error
