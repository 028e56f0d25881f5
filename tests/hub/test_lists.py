"""Lists and lookups read only what they show."""

import gc
import inspect

import pytest
from sqlalchemy import event

from fin_qlora_hub.hub import initialise
from fin_qlora_hub.routes.misc import show_health
from fin_qlora_hub.serving import Server, serve
from fin_qlora_hub.settings import Settings


@pytest.fixture
def http(running):
    with running.http() as client:
        yield client


def test_lists_leave_long_cards_on_the_disk(running, http, api, new_name, monkeypatch) -> None:
    names = [new_name("desk") for _ in range(6)]
    card = b"---\nlicense: mit\nnote: " + b"x" * 20_000 + b"\n---\n"
    for name in names:
        api.create_repo(name)
        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=name)
    statements = []
    engine = running.hub.database._reading

    def note(_connection, _cursor, statement, *_rest) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        slim = http.get("/api/models?author=desk&limit=6")
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert "license:mit" in slim.json()[0]["tags"]
    assert not [s for s in statements if "card_details" in s]
    monkeypatch.setattr("fin_qlora_hub.routes.information.MAX_PAGE_BYTES", 50_000)
    seen, pages, url = [], 0, "/api/models?author=desk&cardData=true"
    while url:
        answer = http.get(url)
        assert len(answer.content) < 80_000
        assert all("cardData" in model for model in answer.json())
        seen += [model["id"] for model in answer.json()]
        pages += 1
        url = answer.links.get("next", {}).get("url")
    assert set(names) <= set(seen)
    assert len(seen) == len(set(seen))
    assert pages >= 2


def test_hashes_are_found_by_the_index(running, http, api, repository) -> None:
    sha = api.model_info(repository).sha
    statements = []
    engine = running.hub.database._reading

    def note(_connection, _cursor, statement, *_rest) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        for revision in (sha, sha[:10], sha[:7]):
            found = http.get(f"/api/models/{repository}/revision/{revision}").json()
            assert found["sha"] == sha
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert not [s for s in statements if "LIKE" in s]
    for revision in (sha[:6], "0" * 40, "f" * 10):
        assert http.get(f"/api/models/{repository}/revision/{revision}").status_code == 404


def test_health_needs_no_thread() -> None:
    assert inspect.iscoroutinefunction(show_health)


def test_what_is_loaded_is_left_out_of_later_collections(tmp_path, monkeypatch) -> None:
    """A look through all of it takes longer than a request may."""
    frozen = []
    monkeypatch.setattr(Server, "run", lambda *_, **__: frozen.append(gc.get_freeze_count()))
    settings = Settings(data_dir=tmp_path / "data")
    initialise(settings)
    try:
        serve(settings, host="127.0.0.1", port=0, on_listening=print)
        assert frozen[0] > 50_000
    finally:
        gc.unfreeze()
