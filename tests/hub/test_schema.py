"""A change of the tables loses nothing, and what is no hub's database is told apart."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from filling import fill

from fin_qlora_hub import migrations as present
from fin_qlora_hub.errors import NotInitialisedError, StorageFullError, UnusableDataError
from fin_qlora_hub.hub import open_hub
from fin_qlora_hub.metadata.schema import current_form, migrate
from fin_qlora_hub.metadata.tables import Base
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.webhooks.delivering import spread

pytestmark = pytest.mark.sqlite
NEWEST = max(
    path.name[1:5] for path in (Path(present.__file__).parent / "versions").glob("r[0-9]*.py")
)
REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{newest}"
branch_labels = depends_on = None


def upgrade():
    with op.batch_alter_table("repositories") as batch:
        batch.alter_column("downloads", type_=sa.BigInteger())
        batch.drop_constraint("uq_repositories_kind_namespace_id_name_key", type_="unique")
        batch.add_column(sa.Column("description", sa.String(), nullable=True))
    {extra}
"""


@pytest.fixture
def later(tmp_path, monkeypatch):
    """Make a version of the migrations that has one more, and return its name."""

    def make(extra: str = "pass") -> str:
        folder = tmp_path / "later_migrations"
        (folder / "versions").mkdir(parents=True)
        source = Path(present.__file__).parent
        for path in ("__init__.py", "env.py", "versions/__init__.py"):
            (folder / path).write_bytes((source / path).read_bytes())
        for path in (source / "versions").glob("r*.py"):
            (folder / "versions" / path.name).write_bytes(path.read_bytes())
        (folder / "versions" / "r9999_later.py").write_text(
            REVISION.format(extra=extra, newest=NEWEST)
        )
        return str(folder)

    return make


@pytest.fixture
def populated(start_hub, tmp_path) -> Path:
    with start_hub(tmp_path / "data") as hub:
        hub.api().create_repo("desk/a")
        card = b"---\nlicense: mit\n---\n"
        hub.api().upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="desk/a")
        hub.api().upload_file(path_or_fileobj=b"x", path_in_repo="d/f", repo_id="desk/a")
        told = b"- {dataset: {id: desk/bench, task_id: t}, value: 1}"
        path = ".eval_results/r.yaml"
        hub.api().upload_file(path_or_fileobj=told, path_in_repo=path, repo_id="desk/a")
        hub.api().create_tag("desk/a", tag="v1")
        hub.api().upload_file(path_or_fileobj=b"w", path_in_repo="w.bin", repo_id="desk/a")
        shelf = hub.api().create_collection("shelf", namespace="desk")
        hub.api().add_collection_item(shelf.slug, "desk/a", "model")
        hub.api().create_discussion("desk/a", "a question", description="why?")
        hub.api().move_repo("desk/a", "desk/b")
        hub.api().update_repo_settings("desk/b", gated="manual")
        hub.api().grant_access("desk/b", "carol")
        with hub.hub.database.writing() as session:
            fill(session, "desk/b")
        watched = [{"type": "org", "name": "desk"}]
        hub.api().create_webhook(url="https://hooks.example/", watched=watched)
        hub.api().create_tag("desk/b", tag="v2")
        with hub.hub.database.writing() as session:
            spread(session, url=hub.url)
        return hub.hub.settings.database_path


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as database:
        return {
            name: database.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()
            for name in Base.metadata.tables
            if name != "repositories"
        }


def test_a_later_form_keeps_all_history(populated, later) -> None:
    before = rows(populated)
    assert all(before.values())
    assert migrate(populated, migrations=later()) == "9999"
    assert rows(populated) == before
    assert current_form(populated) == "9999"
    with closing(sqlite3.connect(populated)) as database:
        database.execute("PRAGMA foreign_keys = ON")
        assert database.execute("SELECT description FROM repositories").fetchall() == [(None,)]
        database.execute("DELETE FROM repositories")  # what refers to it still does
        assert database.execute("SELECT count(*) FROM commits").fetchone() == (0,)
    copies = list(populated.parent.glob(f"hub.sqlite3.form-{NEWEST}-*"))
    assert [current_form(copy) for copy in copies] == [NEWEST]
    assert rows(copies[0]) == before


def test_a_change_that_breaks_references_does_not_happen(populated, later) -> None:
    before = rows(populated)
    with pytest.raises(UnusableDataError, match="Nothing was changed"):
        migrate(populated, migrations=later('op.execute("DELETE FROM repositories")'))
    assert rows(populated) == before
    assert current_form(populated) == NEWEST


def test_no_room_for_the_copy(populated, later, monkeypatch) -> None:
    def full(path: Path) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    migrations = later()
    with monkeypatch.context() as broken:
        broken.setattr(
            "fin_qlora_hub.metadata.schema._vacuum_into", lambda *_paths: full(populated)
        )
        with pytest.raises(StorageFullError, match="nothing was changed"):
            migrate(populated, migrations=migrations)
    assert current_form(populated) == NEWEST
    assert not list(populated.parent.glob("*.form-*"))


def test_an_older_form_must_be_brought_up_first(populated, later, monkeypatch) -> None:
    monkeypatch.setattr("fin_qlora_hub.metadata.schema.MIGRATIONS", later())
    settings = Settings(data_dir=populated.parent)
    with pytest.raises(NotInitialisedError, match="fin-qlora-hub init"), open_hub(settings):
        pass


def test_every_constraint_has_a_name(populated) -> None:
    with closing(sqlite3.connect(populated)) as database:
        texts = [
            sql
            for name, sql in database.execute("SELECT name, sql FROM sqlite_master WHERE sql != ''")
            if name in Base.metadata.tables
        ]
    assert len(texts) == len(Base.metadata.tables)
    for text in texts:
        text = text.replace(" NOT NULL PRIMARY KEY AUTOINCREMENT", "")  # SQLite gives it no name
        constraints = sum(text.count(kind) for kind in ("PRIMARY KEY", "FOREIGN KEY", "UNIQUE"))
        assert text.count("CONSTRAINT ") == constraints > 0, text
