"""Lists are read from indexes in their own order, whatever is asked; nothing is gone through."""

import itertools
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite

from fin_qlora_hub.access.visibility import _BY_NAME, Kind
from fin_qlora_hub.git.references import _NAMED
from fin_qlora_hub.git.trees import _SOME
from fin_qlora_hub.metadata.tables import Repository
from fin_qlora_hub.repositories.listing import Search, Shape, SortKey, search, statement

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
    table = "repository_tags" if shape.tags else "repositories"
    part = "namespace" if shape.namespace else "public"
    assert f"ix_{table}_{part}_{shape.sort}" in steps[0]
    assert not [step for step in steps if step.startswith(("SCAN", "USE TEMP B-TREE"))], steps


@pytest.mark.sqlite
@pytest.mark.parametrize("tags", [0, 1])
@pytest.mark.parametrize("namespace", [False, True])
def test_a_rare_text_is_looked_up(running, namespace, tags) -> None:
    shape = Shape(sort=SortKey.UPDATED, namespace=namespace, tags=tags, texts=1, rare=True)
    steps = plan(running, statement(shape))
    assert "ending>? AND ending<?" in " ".join(steps)
    assert steps[0].startswith("SEARCH repositories USING INTEGER PRIMARY KEY")
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
        from fin_qlora_hub.access.identity import authenticate

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
        space, _, end = name.partition("/")
        for texts in ([space.upper(), end], [end, "", space], [name] * 9):
            answer = http.get("/api/models", params={"search": texts})
            assert [m["id"] for m in answer.json()] == [name]
        assert http.get("/api/models", params={"search": [end, "nowhere"]}).json() == []
        many = http.get("/api/models", params={"search": [str(n) for n in range(9)]})
        assert (many.status_code, "8 at most" in many.json()["error"]) == (400, True)
        for text in ("%", "!", "_%"):
            assert http.get("/api/models", params={"search": text}).json() == []


@pytest.mark.sqlite
@pytest.mark.parametrize("tags", [0, 1])
@pytest.mark.parametrize("namespace", [False, True])
def test_a_few_that_are_gated_are_looked_up(running, namespace, tags) -> None:
    shape = Shape(sort=SortKey.UPDATED, namespace=namespace, tags=tags, gated=True, few=True)
    steps = plan(running, statement(shape))
    assert "ix_repositories_gated" in steps[0]
    assert not [step for step in steps if step.startswith("SCAN")], steps


def found(http, **asked) -> list[str]:
    return [model["id"] for model in http.get("/api/models", params=asked).json()]


@pytest.mark.parametrize("rare", [False, True])
def test_any_part_of_a_name_finds_it(running, api, new_name, monkeypatch, rare) -> None:
    worth = 1000 if rare else -1
    monkeypatch.setattr("fin_qlora_hub.repositories.listing._worth_looking_up", lambda *_: worth)
    name = new_name() + "-Zq" + "x7" * 25 + "Y"
    api.create_repo(name)
    with running.http() as http:
        for text in ("zq", "ZQX", "/" + name.split("/")[1], name, "qx7x7", "x7" * 25 + "y"):
            assert found(http, search=text) == [name]
        assert name in found(http, search="x")
        for text in ("zqy", "x7" * 26, name + "z", "x7" * 20 + "zq", "é", "\x7f"):
            assert found(http, search=text) == []
        moved = new_name()
        api.move_repo(name, moved)
        assert found(http, search="zqx") == []
        assert found(http, search=moved.upper()) == [moved]
        api.delete_repo(moved)
        assert found(http, search=moved) == []


def test_a_name_is_found_only_by_who_may_see_it(running, new_name) -> None:
    name = new_name("carol") + "-unseen"
    running.api("carol").create_repo(name, private=True)
    for user, seen in (("carol", [name]), ("alice", [])):
        with running.http(user) as http:
            assert found(http, search="unseen") == seen
            assert found(http, search="unseen", author="carol") == seen


def test_texts_and_tags_go_together(running, api, new_name) -> None:
    name, other = new_name(), new_name()
    for repository, tags in ((name, "[t-one, t-two]"), (other, "[t-one]")):
        api.create_repo(repository)
        card = f"---\ntags: {tags}\n---\n".encode()
        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=repository)
    with running.http() as http:
        assert found(http, filter="t-one") == [other, name]
        assert found(http, filter="t-one,t-two") == [name]
        assert found(http, filter="t-one", search=other[3:]) == [other]
        assert found(http, filter="t-one,t-two", search=other[3:]) == []


def test_tags_follow_every_change_of_their_repository(running, api, new_name) -> None:
    """What lists by tag are sorted and chosen by is what the repository has."""
    first, second = new_name(), new_name("desk")
    for name in (first, second):
        api.create_repo(name, private=True)
        card = b"---\ntags: [t-follows]\n---\n"
        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=name)
    api.duplicate_repo(first, copied := new_name(), private=True)
    with running.http() as http, running.http("carol") as stranger:
        assert found(http, filter="t-follows") == [copied, second, first]
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=first)
        assert found(http, filter="t-follows") == [first, copied, second]
        with running.hub.database.reading() as session:
            number = session.scalar(select(Repository.id).where(Repository.name == second[5:]))
        running.hub.downloads.count(number)
        running.hub.downloads.flush()
        assert found(http, filter="t-follows", sort="downloads") == [second, copied, first]
        assert found(http, filter="t-follows", sort="createdAt") == [copied, second, first]
        assert found(stranger, filter="t-follows") == []
        api.update_repo_settings(first, private=False)
        assert found(stranger, filter="t-follows") == [first]
        api.move_repo(first, moved := new_name("desk"))
        assert found(stranger, filter="t-follows", author="desk") == [moved]
        assert found(http, filter="t-follows", author="alice") == [copied]
        api.delete_repo(moved)
        assert found(http, filter="t-follows") == [copied, second]


@pytest.mark.parametrize("worth", [-1, 1000])
def test_gated_and_open_ones(running, api, new_name, monkeypatch, worth) -> None:
    monkeypatch.setattr("fin_qlora_hub.repositories.listing._worth_looking_up", lambda *_: worth)
    names = [new_name("desk") for _ in range(3)]
    card = b"---\ntags: [t-gate-%d]\n---\n" % worth
    for name in names:
        api.create_repo(name)
        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=name)
    api.update_repo_settings(names[0], gated="auto")
    api.update_repo_settings(names[2], gated="manual")
    asked = {"author": "desk", "filter": f"t-gate-{worth}"}
    with running.http() as http:
        assert found(http, **asked, gated=True) == [names[2], names[0]]
        assert found(http, **asked, gated=False) == [names[1]]
        assert found(http, author="desk", gated=True)[:2] == [names[2], names[0]]
        assert found(http, author="desk", gated=True, search=names[0][5:]) == [names[0]]
