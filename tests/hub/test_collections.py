"""Collections: shelves that a namespace keeps, which show nobody what is not theirs."""

import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError


@pytest.fixture
def models(api, new_name) -> list[str]:
    names = [new_name("desk") for _ in range(3)]
    for name in names:
        api.create_repo(name)
    return names


def test_a_shelf_is_kept_with_the_stock_client(api, models, new_name) -> None:
    dataset = new_name("desk")
    api.create_repo(dataset, repo_type="dataset")
    made = api.create_collection("Approvéd adapters!", namespace="desk", description="for use")
    assert made.slug.startswith("desk/approved-adapters-")
    assert (made.title, made.description, made.private, made.items) == (
        *("Approvéd adapters!", "for use", False, []),
    )
    again = api.create_collection("Approvéd adapters!", namespace="desk", exists_ok=True)
    assert again.slug == made.slug
    with pytest.raises(HfHubHTTPError, match="already have"):
        api.create_collection("Approvéd adapters!", namespace="desk")
    for name in models:
        api.add_collection_item(made.slug, name, "model", note=f"note of {name}")
    held = api.add_collection_item(made.slug, dataset, "dataset")
    assert [(i.item_id, i.item_type) for i in held.items] == [
        *((name, "model") for name in models),
        (dataset, "dataset"),
    ]
    assert held.items[0].note == f"note of {models[0]}"
    with pytest.raises(HfHubHTTPError, match="already"):
        api.add_collection_item(made.slug, models[0], "model")
    assert len(api.add_collection_item(made.slug, models[0], "model", exists_ok=True).items) == 4
    last = held.items[-1].item_object_id
    api.update_collection_item(made.slug, last, note="first now", position=0)
    api.delete_collection_item(made.slug, held.items[0].item_object_id)
    api.delete_collection_item(made.slug, held.items[0].item_object_id, missing_ok=True)
    found = api.get_collection(made.slug)
    assert [(i.item_id, i.position) for i in found.items] == [
        (dataset, 0),
        (models[1], 1),
        (models[2], 2),
    ]
    assert found.items[0].note == "first now"
    changed = api.update_collection_metadata(
        made.slug, title="Another", description="else", theme="pink", private=True
    )
    assert (changed.title, changed.theme, changed.private) == ("Another", "pink", True)
    assert changed.slug.rpartition("-")[2] == made.slug.rpartition("-")[2]
    assert api.get_collection(made.slug).slug == changed.slug
    api.delete_repo(models[1])
    assert [i.item_id for i in api.get_collection(made.slug).items] == [dataset, models[2]]
    api.delete_collection(made.slug)
    api.delete_collection(made.slug, missing_ok=True)
    with pytest.raises(HfHubHTTPError, match="no such collection"):
        api.get_collection(made.slug)
    assert api.repo_exists(models[2])


def test_lists_are_narrowed_and_come_in_pages(api, running, models) -> None:
    made = [api.create_collection(f"list {n}", namespace="desk").slug for n in range(3)]
    own = api.create_collection("list mine").slug
    for name in models:
        api.add_collection_item(made[1], name, "model")
    assert [c.slug for c in api.list_collections(owner="desk")][:3] == [made[1], made[2], made[0]]
    assert own in [c.slug for c in api.list_collections()]
    assert own not in [c.slug for c in api.list_collections(owner=["desk", "bob"])]
    found = list(api.list_collections(item=f"models/{models[0]}"))
    assert [c.slug for c in found] == [made[1]]
    assert found[0].owner["name"] == "desk"
    assert len(list(api.list_collections(owner="desk", limit=2))) == 2
    with running.http() as http:
        answer = http.get("/api/collections?owner=desk&limit=2")
        following = http.get(answer.links["next"]["url"])
        assert {c["slug"] for c in (*answer.json(), *following.json())} >= set(made)
    places = [c.position for c in map(api.get_collection, made)]
    assert places == sorted(places)
    api.update_collection_metadata(made[2], position=0)
    assert api.get_collection(made[2]).position == 0
    for slug in (*made, own):
        api.delete_collection(slug)


def test_nobody_sees_or_changes_what_is_not_theirs(api, running, models, new_name) -> None:
    public = new_name()
    api.create_repo(public, visibility="public")
    hidden = api.create_collection("hidden", namespace="desk", private=True).slug
    shown = api.create_collection("shown", namespace="desk").slug
    for slug in (hidden, shown):
        api.add_collection_item(slug, models[0], "model")
        api.add_collection_item(slug, public, "model")
    carol, bob = running.api("carol"), running.api("bob")
    assert [i.item_id for i in carol.get_collection(shown).items] == [public]
    assert [i.item_id for i in bob.get_collection(hidden).items] == [models[0], public]
    assert {c.slug for c in carol.list_collections(owner="desk")} == {shown}
    item = api.get_collection(shown).items[0].item_object_id
    mine = carol.create_collection("mine").slug
    with running.http("carol") as http:
        absent = http.get(f"/api/collections/{shown[:-1]}f")
        assert http.get(f"/api/collections/{hidden}").text == absent.text
        assert absent.status_code == 404
        assert http.get(f"/api/collections/carol/{shown.partition('/')[2]}").status_code == 404
        for slug, status in ((hidden, 404), (shown, 403)):
            path = f"/api/collections/{slug}"
            assert http.patch(path, json={"title": "x"}).status_code == status
            assert http.delete(path).status_code == status
            body = {"item": {"id": public, "type": "model"}}
            assert http.post(f"{path}/items", json=body).status_code == status
            assert http.patch(f"{path}/items/{item}", json={"note": "x"}).status_code == status
            assert http.delete(f"{path}/items/{item}").status_code == status
        assert http.delete(f"/api/collections/{mine}/items/{item}").status_code == 404
        other = http.get("/api/collections", params={"item": f"models/{models[0]}"})
        assert other.status_code == 404
    with pytest.raises(RepositoryNotFoundError):
        carol.add_collection_item(mine, models[0], "model")
    with pytest.raises(HfHubHTTPError, match="rights to create"):
        bob.create_collection("x", namespace="desk")
    with running.http("anonymous") as http:
        assert http.get(f"/api/collections/{shown}").status_code == 401
        assert http.get("/api/collections").status_code == 401
    for slug in (hidden, shown):
        api.delete_collection(slug)
    carol.delete_collection(mine)


@pytest.mark.parametrize(
    "body",
    [
        {"title": " "},
        {"title": "x" * 61},
        {"title": "x", "description": "y" * 151},
        {"title": "a\u0000"},
    ],
)
def test_words_have_an_end(running, body) -> None:
    with running.http() as http:
        answer = http.post("/api/collections", json={"namespace": "alice", **body})
        assert answer.status_code == 400


def test_only_what_this_hub_has_is_held(api, running) -> None:
    slug = api.create_collection("kinds").slug
    for kind, name in (("paper", "2311.12983"), ("space", "a/b"), ("model", "no-namespace")):
        with pytest.raises(HfHubHTTPError):
            api.add_collection_item(slug, name, kind)
    with running.http() as http:
        path = f"/api/collections/{slug}"
        assert http.patch(path, json={"theme": "grey"}).status_code == 400
        assert http.patch(path, json={"position": -1}).status_code == 400
    api.delete_collection(slug)


def test_a_collection_in_a_collection(api, running, models) -> None:
    outer, inner, hidden = (
        api.create_collection(title, namespace="desk", private=title == "hidden").slug
        for title in ("outer", "inner", "hidden")
    )
    for slug in (inner, hidden):
        api.add_collection_item(outer, slug, "collection", note="look there")
    api.add_collection_item(outer, models[0], "model")
    held = api.get_collection(outer).items
    assert [(i.item_id, i.item_type) for i in held] == [
        (inner, "collection"),
        (hidden, "collection"),
        (models[0], "model"),
    ]
    assert held[0].note == "look there"
    assert [i.item_id for i in running.api("carol").get_collection(outer).items] == [inner]
    with pytest.raises(HfHubHTTPError, match="already"):
        api.add_collection_item(outer, inner, "collection")
    with pytest.raises(HfHubHTTPError, match="cannot hold itself"):
        api.add_collection_item(outer, outer, "collection")
    mine = running.api("carol").create_collection("of carol").slug
    with pytest.raises(HfHubHTTPError, match="no such collection"):
        running.api("carol").add_collection_item(mine, hidden, "collection")
    api.delete_collection(inner)
    assert [i.item_id for i in api.get_collection(outer).items] == [hidden, models[0]]
    for slug in (outer, hidden):
        api.delete_collection(slug)
    running.api("carol").delete_collection(mine)
