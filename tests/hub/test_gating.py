"""Gated repositories: everybody sees them, whoever is let in has them."""

import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError


@pytest.fixture
def gated(api, shared) -> str:
    """A public, gated repository of the organization."""
    data = bytes(2_000_000)
    api.upload_file(path_or_fileobj=data, path_in_repo="w.bin", repo_id=shared)
    api.update_repo_settings(shared, visibility="public", gated="manual")
    return shared


def may_have(running, caller: str, name: str) -> bool:
    with running.http(caller) as http:
        statuses = {
            http.get(path).status_code
            for path in (
                f"/{name}/resolve/main/w.bin",
                f"/api/models/{name}/auth-check",
                f"/api/models/{name}/xet-read-token/main",
            )
        }
    assert statuses in ({200}, {403})
    return statuses == {200}


def ask(running, caller: str, name: str) -> str:
    with running.http(caller) as http:
        answer = http.post(f"/{name}/ask-access")
        return answer.json().get("status", answer.status_code)


def test_a_request_from_beginning_to_end(api, running, gated, tmp_path) -> None:
    carol = running.api("carol")
    assert carol.model_info(gated).gated == "manual"
    assert "w.bin" in carol.list_repo_files(gated)
    with pytest.raises(GatedRepoError, match="ask-access"):
        carol.hf_hub_download(gated, "w.bin", cache_dir=tmp_path)
    assert carol.repo_exists(gated)
    assert not may_have(running, "carol", gated)
    assert may_have(running, "bob", gated)  # who has a role in the namespace needs no more
    assert ask(running, "carol", gated) == ask(running, "carol", gated) == "pending"
    assert not may_have(running, "carol", gated)
    (request,) = api.list_pending_access_requests(gated)
    assert (request.username, request.status) == ("carol", "pending")
    api.accept_access_request(gated, "carol")
    assert may_have(running, "carol", gated)
    assert carol.hf_hub_download(gated, "w.bin", cache_dir=tmp_path)
    assert [r.username for r in api.list_accepted_access_requests(gated)] == ["carol"]
    with pytest.raises(HfHubHTTPError, match="accepted already"):
        api.accept_access_request(gated, "carol")
    api.reject_access_request(gated, "carol", rejection_reason="no licence")
    assert not may_have(running, "carol", gated)
    assert [r.username for r in api.list_rejected_access_requests(gated)] == ["carol"]
    api.cancel_access_request(gated, "carol")
    assert ask(running, "carol", gated) == "pending"
    api.update_repo_settings(gated, gated=False)
    assert may_have(running, "carol", gated)


def test_access_without_a_request(api, running, gated) -> None:
    api.grant_access(gated, "carol")
    assert may_have(running, "carol", gated)
    for act in (
        lambda: api.grant_access(gated, "carol"),
        lambda: api.grant_access(gated, "nobody"),
        lambda: api.accept_access_request(gated, "bob"),
        lambda: api.accept_access_request(gated, "nobody"),
    ):
        with pytest.raises(HfHubHTTPError):
            act()


def test_a_gate_that_opens_at_once(api, running, gated) -> None:
    api.update_repo_settings(gated, gated="auto")
    assert not may_have(running, "carol", gated)
    assert ask(running, "carol", gated) == "accepted"
    assert may_have(running, "carol", gated)


def test_who_may_not(api, running, gated, repository) -> None:
    for caller in ("carol", "bob", "alice-read"):
        with pytest.raises(HfHubHTTPError, match="may read"):
            list(running.api(caller).list_pending_access_requests(gated))
        with pytest.raises(HfHubHTTPError, match="may read"):
            running.api(caller).grant_access(gated, "carol")
    assert ask(running, "alice-read", gated) == 403
    assert ask(running, "carol", repository) == 404
    assert ask(running, "anonymous", gated) == 401
    assert ask(running, "alice", repository) == 400  # it is not gated
    with running.http() as http:
        handle = f"/api/models/{gated}/user-access-request/handle"
        for named in ({}, {"user": "carol", "requestId": "0" * 24}):
            assert http.post(handle, json={**named, "status": "accepted"}).status_code == 400


def test_a_request_by_its_id(api, running, gated, new_name) -> None:
    ask(running, "carol", gated)
    (request,) = api.list_pending_access_requests(gated)
    api.accept_access_request(gated, request_id=request.request_id)
    assert may_have(running, "carol", gated)
    other = new_name("desk")
    api.create_repo(other)
    api.update_repo_settings(other, gated="manual")
    for repository, name in ((gated, "0"), (gated, "f" * 24), (other, request.request_id)):
        with pytest.raises(HfHubHTTPError, match="no such request"):
            api.accept_access_request(repository, request_id=name)
    assert may_have(running, "carol", gated)


def test_a_gated_repository_is_found_as_one(api, running, gated) -> None:
    carol = running.api("carol")
    assert gated in [model.id for model in carol.list_models(gated=True)]
    assert gated not in [model.id for model in carol.list_models(gated=False)]
    listed = list(carol.list_models(search=gated.split("/")[1], expand=["gated"]))
    assert [model.gated for model in listed] == ["manual"]
