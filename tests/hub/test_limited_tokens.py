"""A token that is limited carries no further, whatever its user may do."""

from contextlib import contextmanager

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from fin_qlora_hub.access.identity import Role, create_token, revoke_token
from fin_qlora_hub.access.reach import MAX_RESOURCES, Reach
from fin_qlora_hub.errors import BadRequestError


@pytest.fixture
def limited(running, new_name):
    """Make a token that is limited: `limited("desk/a")` gives it, of alice, who may write."""

    def make(*resources: str, user: str = "alice", role: Role = Role.WRITE) -> str:
        with running.hub.database.writing() as session:
            return create_token(
                session, user, name=new_name(), role=role, reach=Reach.of(resources)
            )

    return make


@pytest.fixture
def http(running):
    @contextmanager
    def connect(token: str):
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=running.url, headers=headers, timeout=30) as client:
            yield client

    return connect


def client(running, token: str) -> HfApi:
    return HfApi(endpoint=running.url, token=token)


def add(api: HfApi, name: str, **options):
    file = CommitOperationAdd("a.txt", b"a")
    return api.create_commit(name, [file], commit_message="a", **options)


@pytest.fixture
def public(api, new_name) -> str:
    name = new_name("desk")
    api.create_repo(name, private=False)
    return name


def test_one_repository(running, limited, shared, repository, public, new_name) -> None:
    api = client(running, limited(shared))
    add(api, shared)
    assert api.model_info(shared).id == shared
    assert api.model_info(public).id == public  # as anybody without a role
    api.auth_check(shared, write=True)
    for name in (repository, f"{shared}-missing"):
        for act in (api.model_info, api.list_repo_refs, api.delete_repo, api.auth_check):
            with pytest.raises(RepositoryNotFoundError):
                act(name)
    for act in (
        lambda: add(api, public),
        lambda: add(api, public, create_pr=True),
        lambda: api.create_discussion(public, "a title", description="d"),
        lambda: api.update_repo_settings(public, visibility="private"),
        lambda: api.delete_repo(public),
        lambda: api.create_repo(new_name("desk")),
        lambda: api.create_repo(new_name("alice")),
        lambda: api.move_repo(shared, new_name("desk")),
        lambda: api.create_collection("a shelf", namespace="desk"),
        lambda: api.auth_check(public, write=True),
    ):
        with pytest.raises(HfHubHTTPError) as refused:
            act()
        assert refused.value.response.status_code == 403
    assert {found.id for found in api.list_models(author="desk")}.isdisjoint({shared, repository})
    with pytest.raises(HfHubHTTPError):
        list(api.list_user_repos("desk"))


def test_one_namespace(running, limited, shared, repository, new_name) -> None:
    api = client(running, limited("DESK"))
    add(api, shared)
    made = new_name("desk")
    api.create_repo(made)
    found = {one.id for one in api.list_models(limit=1000)}
    assert {shared, made} <= found
    assert repository not in found
    assert made in {one.id for one in api.list_user_repos("desk")}
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(repository)
    with pytest.raises(HfHubHTTPError):
        list(api.list_user_repos())
    shelf = api.create_collection(made.partition("/")[2], namespace="desk")
    api.delete_collection(shelf.slug)


def test_of_one_kind(running, api, limited, new_name) -> None:
    name = new_name("desk")
    for kind in ("model", "dataset"):
        api.create_repo(name, repo_type=kind)
    only = client(running, limited(f"datasets/{name}"))
    assert only.dataset_info(name).id == name
    with pytest.raises(RepositoryNotFoundError):
        only.model_info(name)


def test_a_repository_that_is_not_there_yet(running, limited, new_name) -> None:
    name = new_name("desk")
    api = client(running, limited(name))
    api.create_repo(name)
    add(api, name)


def test_it_gives_nothing_that_its_user_has_not(running, limited, shared) -> None:
    """bob may read in desk, carol has no role there."""
    with pytest.raises(HfHubHTTPError) as refused:
        add(client(running, limited(shared, user="bob")), shared)
    assert refused.value.response.status_code == 403
    with pytest.raises(RepositoryNotFoundError):
        client(running, limited(shared, user="carol")).model_info(shared)
    with pytest.raises(HfHubHTTPError):
        add(client(running, limited(shared, role=Role.READ)), shared)


def test_what_was_granted_to_a_user(running, api, limited, public, http) -> None:
    """A gated repository is open to a user who was let in, not to their limited token."""
    add(api, public)
    api.update_repo_settings(public, gated="manual")
    api.grant_access(public, "carol")
    running.api("carol").auth_check(public)
    path = f"/{public}/resolve/main/a.txt"
    with http(limited("datasets/carol/x", user="carol")) as carol:
        assert carol.get(path).status_code == 403
    with http(limited("carol", user="carol")) as carol:
        assert carol.get(path).status_code == 200


def test_old_names(running, api, limited, shared, new_name, http) -> None:
    """Where a repository went is told only to a token that reaches it there."""
    moved = new_name("desk")
    api.move_repo(shared, moved)
    with http(limited(shared)) as old:
        assert old.get(f"/api/models/{shared}").status_code == 404
    with http(limited("desk")) as both:
        assert both.get(f"/api/models/{shared}").status_code == 307


def test_whoami_tells_of_the_limits(running, limited, shared) -> None:
    told = client(running, limited(shared, "alice", "desk/missing")).whoami()["auth"]["accessToken"]
    assert told["role"] == "fineGrained"
    scoped = told["fineGrained"]["scoped"]
    assert [(one["entity"]["type"], one["entity"]["name"]) for one in scoped] == [
        ("model", shared),
        ("user", "alice"),
    ]
    assert scoped[0]["permissions"] == ["repo.content.read", "repo.write"]


def test_leaderboards_and_collections_of_others(running, api, limited, shared, repository) -> None:
    told = b"- {dataset: {id: desk/limited-bench, task_id: t}, value: 1}"
    api.upload_file(path_or_fileobj=told, path_in_repo=".eval_results/r.yaml", repo_id=shared)
    api.create_repo("desk/limited-bench", repo_type="dataset")
    shelf = api.create_collection("a closed shelf", namespace="desk", private=True)
    api.add_collection_item(shelf.slug, shared, "model")
    board = "desk/limited-bench"

    def ranked(token: str) -> list[str]:
        rows = client(running, token).get_dataset_leaderboard(board, base_model_only=False)
        return [row.model_id for row in rows]

    assert ranked(running.tokens["alice"]) == [shared]
    narrow = limited("datasets/" + board)
    assert ranked(narrow) == []
    with pytest.raises(HfHubHTTPError):
        client(running, narrow).get_collection(shelf.slug)
    assert client(running, limited("desk")).get_collection(shelf.slug).items[0].item_id == shared


@pytest.mark.parametrize("resource", ["desk/elsewhere", "alice"])
def test_webhooks_tell_more_than_a_limited_token_may_know(running, limited, http, resource) -> None:
    wish = {
        "url": "https://hooks.example/",
        "watched": [{"type": "org", "name": "desk"}],
        "domains": ["repo"],
    }
    with running.http("alice") as alice:
        made = alice.post("/api/settings/webhooks", json=wish).json()["webhook"]
    place = f"/api/settings/webhooks/{made['id']}"
    with http(limited(resource)) as asking:
        for address in ("/api/settings/webhooks", place, f"{place}/deliveries"):
            assert asking.get(address).status_code == 403
        for address in ("/api/settings/webhooks", place, f"{place}/enable", f"{place}/disable"):
            assert asking.post(address, json=wish).status_code == 403
        assert asking.delete(place).status_code == 403
    with running.http("alice") as alice:
        assert alice.delete(place).status_code == 200


def test_revoked_with_what_was_begun(running, limited, shared, http, xet) -> None:
    """A token for chunks ends with the access token by which it was got."""
    with running.hub.database.writing() as session:
        token = create_token(session, "alice", name="chunks", role=Role.WRITE)
    with http(token) as api:
        given = api.get(f"/api/models/{shared}/xet-write-token/main").json()
        asked = {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1}]}
        batch = api.post(f"/{shared}.git/info/lfs/objects/batch", json=asked).json()
    upload = batch["objects"][0]["actions"]["upload"]["href"]
    headers = {"Authorization": f"Bearer {given['accessToken']}"}
    with httpx.Client(base_url=given["casUrl"], headers=headers, timeout=30) as cas:
        probe = f"/v1/chunks/default/{'0' * 64}"
        assert cas.get(probe).status_code == 404
        with running.hub.database.writing() as session:
            revoke_token(session, "alice", name="chunks")
        assert cas.get(probe).status_code == 401
        assert httpx.put(upload, content=b"a").status_code in (401, 403)


@pytest.mark.parametrize(
    "resource",
    ["", "a/b/c/d", "spaces/a/b", "a//b", "api", "a/resolve", "models/a/", "*", "desk/*"],
)
def test_what_a_token_cannot_be_limited_to(resource) -> None:
    with pytest.raises(BadRequestError):
        Reach.of([resource])


def test_how_many() -> None:
    assert Reach.of(["a", "a", "b/c", "models/b/c"]).resources == ("a", "models/b/c")
    for count in (0, MAX_RESOURCES + 1):
        with pytest.raises(BadRequestError):
            Reach.of(f"n{number}" for number in range(count))


def test_one_within_another() -> None:
    wide, narrow = Reach.of(["desk", "datasets/risk/news"]), Reach.of(["desk/a"])
    assert narrow.within(wide)
    assert not wide.within(narrow)
    assert wide.within(None)
    assert Reach.of(["datasets/RISK/News"]).within(wide)
    assert not Reach.of(["risk/news"]).within(wide)


def test_the_command(command, tmp_path) -> None:
    command("init")
    command("user", "add", "alice")
    words = ["token", "create", "alice", "--name", "ci", "--only", "alice/a", "--days", "7"]
    assert command(*words, "--format", "quiet").stdout.startswith("fqh_")
    line = command("token", "list").stdout
    assert "alice  ci  access, read, only models/alice/a" in line
    assert "used never" in line
    assert command("token", "create", "alice", "--name", "x", "--only", "a/b/c").returncode == 2
