"""Lists are read from indexes in their own order, whatever is asked; nothing is gone through."""

import itertools
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy.dialects import sqlite

from fin_qlora_hub.listing import Search, Shape, SortKey, search, statement
from fin_qlora_hub.references import _NAMED
from fin_qlora_hub.trees import _SOME
from fin_qlora_hub.visibility import _BY_NAME, Kind

CASES = [
    Shape(sort=sort, namespace=namespace, tags=tags, gated=gated, after=after)
    for sort, namespace, tags, gated, after in itertools.product(
        SortKey, (False, True), (0, 1, 2), (None, True), (False, True)
    )
]


def plan(running, query) -> list[str]:
    compiled = query.compile(dialect=sqlite.dialect(), compile_kwargs={"render_postcompile": True})
    text = str(compiled)
    with closing(sqlite3.connect(running.hub.settings.database_path)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", [1] * text.count("?")).fetchall()
    return [row[3] for row in rows]


@pytest.mark.sqlite
@pytest.mark.parametrize("shape", CASES, ids=str)
def test_an_ordered_list_is_read_in_order(running, shape) -> None:
    steps = plan(running, statement(shape))
    part = "namespace" if shape.namespace else "public"
    assert f"ix_repositories_{part}_{shape.sort}" in steps[0]
    assert not [step for step in steps if step.startswith(("SCAN", "USE TEMP B-TREE"))], steps


@pytest.mark.sqlite
@pytest.mark.parametrize("namespace", [False, True])
def test_a_rare_tag_is_looked_up(running, namespace) -> None:
    shape = Shape(sort=SortKey.UPDATED, namespace=namespace, tags=2, rare=True)
    steps = plan(running, statement(shape))
    assert "ix_repository_tags_tag" in steps[0]
    assert not [step for step in steps if step.startswith("SCAN")], steps


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "query",
    [_BY_NAME, _NAMED, _SOME.params(repository=1, tree="", names=["a"])],
    ids=["name", "revision", "file"],
)
def test_a_single_one_is_looked_up(running, query) -> None:
    steps = plan(running, query)
    assert steps
    assert not [step for step in steps if step.startswith("SCAN")], steps


def test_parts_together_are_one_sorted_list(running, api, new_name) -> None:
    """What is public, one's own and the organization's: each once, in one order, page by page."""
    names = [new_name(space) for space in ("alice", "desk", "alice", "desk", "alice")]
    for place, name in enumerate(names):
        api.create_repo(name, private=place % 2 == 1)
    carols = new_name("carol")
    running.api("carol").create_repo(carols, private=False)
    with running.hub.database.reading() as session:
        from fin_qlora_hub.identity import authenticate

        caller = authenticate(session, running.tokens["alice"])
        wanted = Search(kind=Kind.MODEL)
        whole = [r.name for r in search(session, wanted, caller=caller, limit=1000, cursor=None)]
    assert whole[:6] == [carols, *reversed(names)]
    assert len(whole) == len(set(whole))
    with running.http() as http:
        seen, url = [], "/api/models?limit=2"
        while url:
            answer = http.get(url)
            seen += [model["id"] for model in answer.json()]
            url = answer.links.get("next", {}).get("url")
    assert seen == whole


def test_signs_of_the_pattern_language_are_letters(running, api, new_name) -> None:
    name = new_name() + "_x"
    api.create_repo(name)
    with running.http() as http:
        assert [m["id"] for m in http.get("/api/models", params={"search": "_X"}).json()] == [name]
        for text in ("%", "!", "_%"):
            assert http.get("/api/models", params={"search": text}).json() == []
