"""Users and organizations: those whom one meets on the hub anyway are known, no others."""

import pytest
from huggingface_hub.errors import HfHubHTTPError

from fin_qlora_hub.access.identity import Role, add_organization, add_user, grant


@pytest.fixture(scope="module")
def hub(open_a_hub, tmp_path_factory):
    """desk shows nothing to everyone; `open-desk`, of walter, does."""
    with open_a_hub(tmp_path_factory.mktemp("hub") / "data") as hub:
        with hub.hub.database.writing() as session:
            add_user(session, "dora", full_name="Dora Doe")
            add_organization(session, "open-desk", owner="walter", full_name="The open desk")
        hub.api().create_repo("desk/a")
        hub.api().create_repo("desk/d", repo_type="dataset")
        hub.api("walter").create_repo("open-desk/a", private=False)
        hub.api("walter").create_repo("open-desk/b")
        yield hub


def refusal(hub, caller: str, path: str) -> tuple[int, bytes]:
    with hub.http(caller) as http:
        answer = http.get(path)
    return answer.status_code, answer.content


def test_oneself_and_colleagues(hub) -> None:
    alice = hub.api().get_user_overview("ALICE")
    assert (alice.username, alice.fullname, alice.user_type) == ("alice", "alice", "user")
    assert [one.name for one in alice.orgs] == ["desk"]
    assert hub.api("bob").get_user_overview("alice").num_models == 0


def test_what_is_counted_is_what_is_seen(hub) -> None:
    hub.api().create_repo("alice/counted", exist_ok=True)
    assert hub.api().get_user_overview("alice").num_models == 1
    assert hub.api("bob").get_user_overview("alice").num_models == 0
    desk = hub.api("bob").get_organization_overview("desk")
    assert (desk.num_models, desk.num_datasets, desk.num_users) == (1, 1, 3)
    shown = hub.api("carol").get_organization_overview("open-desk")
    assert (shown.name, shown.fullname, shown.num_models) == ("open-desk", "The open desk", 1)
    assert shown.num_users is None
    assert hub.api("walter").get_organization_overview("open-desk").num_models == 2


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("/api/users/dora/overview", "/api/users/nobody/overview"),
        ("/api/users/desk/overview", "/api/users/nobody/overview"),
        ("/api/organizations/desk/overview", "/api/organizations/nobody/overview"),
        ("/api/organizations/desk/members", "/api/organizations/nobody/members"),
        ("/api/organizations/open-desk/members", "/api/organizations/nobody/members"),
        ("/api/organizations/carol/members", "/api/organizations/nobody/members"),
    ],
)
def test_others_are_as_good_as_absent(hub, path, missing) -> None:
    assert refusal(hub, "carol", path) == refusal(hub, "carol", missing)
    assert refusal(hub, "carol", path)[0] == 404
    assert refusal(hub, "anonymous", path) == refusal(hub, "anonymous", missing)
    assert refusal(hub, "anonymous", path)[0] == 401


def test_members(hub) -> None:
    members = list(hub.api("bob").list_organization_members("desk"))
    assert [one.username for one in members] == ["alice", "bob", "walter"]
    with pytest.raises(HfHubHTTPError):
        list(hub.api("carol").list_organization_members("desk"))


def test_many_members(hub, monkeypatch) -> None:
    """A page at a time, none twice."""
    with hub.hub.database.writing() as session:
        add_organization(session, "crowd", owner="alice")
        for number in range(230):
            add_user(session, f"person-{number}")
            grant(session, "crowd", f"person-{number}", role=Role.READ)
    with hub.http() as http:
        first = http.get("/api/organizations/crowd/members")
        assert len(first.json()) == 100
        assert f"<{hub.url}/api/organizations/crowd/members?cursor=" in first.headers["link"]
    names = [one.username for one in hub.api().list_organization_members("crowd")]
    assert len(names) == len(set(names)) == 231
