"""A hub with data that was made by the first forms of the tables comes to the newest one whole."""

from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from filling import fill
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from fin_qlora_hub.care.checking import check
from fin_qlora_hub.hub import open_hub
from fin_qlora_hub.metadata.database import place_of, writing_engine
from fin_qlora_hub.metadata.schema import MIGRATIONS, current_form, migrate
from fin_qlora_hub.metadata.tables import Base
from fin_qlora_hub.settings import Settings

FIRST = "0005"
# What the first form did not know, and which is gone with a way back to it.
LATER = {
    "audit_records", "webhooks", "webhook_deliveries", "mirrors", "mirror_revisions",
    "mirror_contents", "protected_refs", "holds", "reservations", "issued_secrets",
    "device_requests", "external_identities",
}  # fmt: skip
REFILLED = {"audit_head", "webhooks_told"}
UNKNOWN = {
    "namespaces": {"quota_bytes"},
    "files": {"sent_at"},
    "tokens": {"kind", "reach", "client_id", "approved_by", "last_used_at"},
}


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.sqlite), "postgresql"])
def populated(request, start_hub, tmp_path) -> Settings:
    """The settings of a hub with a row in each table."""
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").new_database()
    with start_hub(tmp_path / "data", database_url=url) as hub:
        api = hub.api()
        for name in ("desk/a", "desk/other", "desk/gone"):
            api.create_repo(name)
        card = b"---\nlicense: mit\ntags: [x, y]\n---\n"
        told = b"- {dataset: {id: desk/bench, task_id: t}, value: 1}"
        for path, data in {
            "README.md": card, "d/f": b"x", ".eval_results/r.yaml": told, "w.bin": b"w" * 999,
            "m.safetensors": bytes(300_000),
        }.items():  # fmt: skip
            api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id="desk/a")
        api.create_tag("desk/a", tag="v1")
        shelf = api.create_collection("shelf", namespace="desk")
        api.add_collection_item(shelf.slug, "desk/a", "model")
        api.create_discussion("desk/a", "a question", description="why?")
        api.move_repo("desk/a", "desk/b")
        api.update_repo_settings("desk/b", gated="manual")
        api.grant_access("desk/b", "carol")
        api.delete_repo("desk/gone")
        with hub.hub.database.writing() as session:
            fill(session, "desk/b")
        return hub.hub.settings


@pytest.fixture
def first_form(request, populated, tmp_path) -> dict[str, Any]:
    """The tables as the first form made them, on the same kind of database."""
    url = populated.database_url and request.getfixturevalue("postgresql").new_database()
    settings = Settings(data_dir=tmp_path / "first", database_url=url)
    settings.data_dir.mkdir()
    migrate(place_of(settings), target=FIRST)
    return form(settings)


def go_back(settings: Settings) -> None:
    configuration = Config()
    configuration.set_main_option("script_location", MIGRATIONS)
    engine = writing_engine(place_of(settings))
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, FIRST)
    engine.dispose()


def rows(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Read all that the first form can tell of."""
    engine = writing_engine(place_of(settings))
    found = {}
    with engine.connect() as connection:
        for name, table in Base.metadata.tables.items():
            if name in LATER:
                continue
            keys = [column.name for column in table.primary_key]
            shown = [c.name for c in table.columns if c.name not in UNKNOWN.get(name, ())]
            query = f"SELECT {', '.join(shown)} FROM {name} ORDER BY {', '.join(keys)}"
            found[name] = [dict(row) for row in connection.execute(text(query)).mappings()]
    engine.dispose()
    return found


def form(settings: Settings) -> dict[str, Any]:
    """Describe all tables as the database knows them."""
    engine = writing_engine(place_of(settings))
    with engine.connect() as connection:
        look = inspect(connection)
        found: dict[str, Any] = {
            name: (
                sorted(
                    (c["name"], str(c["type"]), c["nullable"], c["default"])
                    for c in look.get_columns(name)
                ),
                look.get_pk_constraint(name)["constrained_columns"],
                sorted(map(str, look.get_unique_constraints(name))),
                sorted(map(str, look.get_foreign_keys(name))),
                sorted(map(_index, look.get_indexes(name))),
            )
            for name in look.get_table_names()
        }
        if connection.dialect.name == "sqlite":
            texts = connection.execute(text("SELECT name, sql FROM sqlite_master")).all()
            found["kinds"] = sorted(
                (name, "AUTOINCREMENT" in sql, "WITHOUT ROWID" in sql)
                for name, sql in texts
                if sql and name in Base.metadata.tables
            )
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
            found["triggers"] = sorted(map(str, connection.execute(text(query))))
    engine.dispose()
    return found


def _index(described: Any) -> str:
    options = {name: str(value) for name, value in described["dialect_options"].items()}
    return str({**described, "dialect_options": options})


def test_from_the_first_form_to_the_newest(populated, first_form) -> None:
    before, described = rows(populated), form(populated)
    newest = current_form(place_of(populated))
    # The first form knows no names of what is gone, no sign-ins and no record of acts.
    assert [row for row in before["former_names"] if row["repository_id"] is None]
    before["former_names"] = [row for row in before["former_names"] if row["repository_id"]]
    before["tokens"] = [row for row in before["tokens"] if "sign-in" not in row["name"]]
    before["hub_state"] = [row for row in before["hub_state"] if row["name"] not in REFILLED]
    assert all(before.values())
    go_back(populated)
    assert current_form(place_of(populated)) == FIRST
    assert form(populated) == first_form
    assert migrate(place_of(populated)) == newest
    assert form(populated) == described
    after = rows(populated)
    refilled = {row["name"]: row["value"] for row in after["hub_state"] if row["name"] in REFILLED}
    assert refilled == {"audit_head": "0 " + "0" * 64, "webhooks_told": "0"}
    after["hub_state"] = [row for row in after["hub_state"] if row["name"] not in REFILLED]
    assert after == before


def test_what_came_to_the_newest_form_is_sound(populated) -> None:
    go_back(populated)
    migrate(place_of(populated))
    with open_hub(populated) as hub:
        assert list(check(hub)) == []
        dangling = "INSERT INTO name_ends (ending, repository_id) VALUES ('a', 99)"
        with pytest.raises(DBAPIError), hub.database.writing() as session:
            session.execute(text(dangling))
