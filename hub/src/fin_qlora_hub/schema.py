"""The form of the tables: which one a database has, and the way to the newest."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from fin_qlora_hub.database import faults_named, make_engine
from fin_qlora_hub.errors import NotInitialisedError, StorageFullError, UnusableDataError

MIGRATIONS = "fin_qlora_hub:migrations"


def current_form(path: Path) -> str | None:
    """Return the name of the form that a database has, None for an empty one.

    Raises UnusableDataError for a file that this hub did not make.
    """
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
    if rows:
        return str(rows[0][0])
    if tables - {"alembic_version"}:
        raise UnusableDataError(
            f"{path} is half made or belongs to another program: move it away, then run "
            f"`fin-qlora-hub init --data-dir {path.parent}`."
        )
    return None


def require_newest_form(path: Path, *, older: bool = False) -> None:
    """Refuse a database that this version cannot work with; `older` ones pass if told so."""
    found = current_form(path)
    if found is None:
        raise NotInitialisedError(
            f"{path.parent} holds an empty database: run `fin-qlora-hub init --data-dir "
            f"{path.parent}` first."
        )
    known = _known_forms(path, found, migrations=MIGRATIONS)
    if not older and found != known[0]:
        raise NotInitialisedError(
            f"{path.parent} has tables of form {found}, this version needs {known[0]}: stop the "
            f"server, then run `fin-qlora-hub init --data-dir {path.parent}`."
        )


def migrate(path: Path, *, migrations: str | None = None) -> str:
    """Bring the tables to the newest form; return the name of that form.

    A database with data is copied first, beside itself. Foreign keys are off meanwhile, since
    SQLite changes a table by making it anew, which would delete all that refers to the old one;
    they are checked before anything becomes final.
    """
    from alembic import command
    from alembic.config import Config

    found = current_form(path) if path.is_file() else None
    migrations = migrations or MIGRATIONS
    newest, *_ = _known_forms(path, found, migrations=migrations)
    if found == newest:
        return newest
    if found is not None:
        _copy(path, form=found)
    configuration = Config()
    configuration.set_main_option("script_location", migrations)
    engine = make_engine(path, foreign_keys=False).execution_options(immediate=True)
    try:
        with faults_named(path), engine.begin() as connection:
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")
            dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if dangling:
                raise UnusableDataError(
                    f"{path} cannot be brought to form {newest}: {len(dangling)} rows of "
                    f"{dangling[0][0]!r} refer to what is not there. Nothing was changed."
                )
    finally:
        engine.dispose()
    return newest


def _known_forms(path: Path, found: str | None, *, migrations: str) -> tuple[str, ...]:
    """Return all forms of this version, newest first; refuse a database of any other."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    configuration = Config()
    configuration.set_main_option("script_location", migrations)
    scripts = ScriptDirectory.from_config(configuration).walk_revisions()
    known = tuple(script.revision for script in scripts)
    if found is not None and found not in known:
        raise UnusableDataError(
            f"{path.parent} has tables of form {found}, made by a newer version of the hub; this "
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
