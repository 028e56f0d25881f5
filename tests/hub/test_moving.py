"""A moved repository is found under its old name, by those who may read the new one."""

from pathlib import Path

import pytest
from huggingface_hub.errors import HfHubHTTPError

from fin_qlora_hub.repositories.repository import free_name, read_name


@pytest.fixture
def moved(api, shared, new_name) -> tuple[str, str]:
    api.upload_file(path_or_fileobj=b"w" * 100, path_in_repo="d/w.bin", repo_id=shared)
    target = new_name()
    api.move_repo(shared, target)
    return shared, target


def test_the_old_name_leads_to_the_new(api, moved, running, tmp_path) -> None:
    old, new = moved
    assert api.model_info(old).id == new
    path = api.hf_hub_download(old, "d/w.bin", cache_dir=tmp_path)
    assert Path(path).read_bytes() == b"w" * 100
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=old)
    api.upload_file(path_or_fileobj=bytes(2_000_000), path_in_repo="y.bin", repo_id=old)
    assert {"d/w.bin", "x", "y.bin"} <= set(api.list_repo_files(new))
    with running.http() as http:
        answer = http.get(f"/api/models/{old}/tree/main?recursive=true")
        assert answer.status_code == 307
        assert answer.headers["location"] == (
            f"{running.url}/api/models/{new}/tree/main?recursive=true"
        )
        body = {"operation": "upload", "objects": []}
        answer = http.post(f"/{old}.git/info/lfs/objects/batch", json=body)
        assert answer.headers["location"] == f"{running.url}/{new}.git/info/lfs/objects/batch"


def test_nobody_else_learns_the_new_name(moved, running) -> None:
    old, _new = moved
    for caller in ("bob", "carol", "walter"):  # it is private, and alice's own now
        with running.http(caller) as http:
            here = http.get(f"/api/models/{old}")
            absent = http.get("/api/models/desk/missing")
            assert (here.status_code, here.text) == (absent.status_code, absent.text)


def test_nobody_takes_a_name_that_leads_elsewhere(api, moved, running) -> None:
    """Whoever knows the old name would be given other files under it."""
    old, new = moved
    other = old.replace("repository", "other")
    for caller in ("alice", "walter"):
        with running.http(caller) as http:
            body = {"organization": "desk", "name": old.partition("/")[2].upper()}
            answer = http.post("/api/repos/create", json=body)
            assert answer.status_code == 409
            assert "leads to it still" in answer.json()["error"]
            assert answer.json()["url"]
    api.create_repo(other)
    with pytest.raises(HfHubHTTPError, match="leads to it still"):
        api.move_repo(other, old)
    with pytest.raises(HfHubHTTPError, match="leads to it still"):
        api.duplicate_repo(other, old)
    api.create_repo(old, exist_ok=True)  # what `hf upload` begins with: it goes to the new place
    assert api.model_info(old).id == new
    with running.hub.database.writing() as session:
        free_name(session, read_name(old))
    api.create_repo(old)
    assert (api.model_info(old).id, api.model_info(new).id) == (old, new)


def test_the_name_of_what_is_gone_is_not_for_everyone(api, running, shared, new_name) -> None:
    namespace, name = shared.split("/")
    walter, mine = running.api("walter"), new_name("walter")
    walter.create_repo(mine)
    walter.delete_repo(shared)
    with pytest.raises(HfHubHTTPError, match="only an administrator of 'desk'"):
        walter.create_repo(f"{namespace}/{name.upper()}")
    with pytest.raises(HfHubHTTPError, match="only an administrator of 'desk'"):
        walter.move_repo(mine, shared)
    with pytest.raises(HfHubHTTPError, match="only an administrator of 'desk'"):
        walter.duplicate_repo(mine, shared)
    walter.create_repo(shared, repo_type="dataset")  # another kind has its own names
    with running.http("walter") as http:
        assert http.get(f"/api/models/{shared}").json()["error"] == "Repository not found"
    api.create_repo(shared)
    walter.delete_repo(mine)
    walter.create_repo(mine)  # in one's own namespace one is the administrator


def test_what_led_to_a_removed_repository_leads_nowhere(api, running, moved) -> None:
    old, new = moved
    api.delete_repo(new)
    assert not api.repo_exists(old)
    with pytest.raises(HfHubHTTPError, match="only an administrator"):
        running.api("walter").create_repo(old)
    api.create_repo(old)
    assert api.model_info(old).id == old


def test_there_and_back(api, moved) -> None:
    old, new = moved
    api.move_repo(new, old)
    assert api.model_info(old).id == api.model_info(new).id == old
    api.delete_repo(old)
    assert not api.repo_exists(new)


def test_what_is_refused(api, running, shared, repository) -> None:
    with pytest.raises(HfHubHTTPError, match=f"A model repository called {repository} already"):
        api.move_repo(shared, repository)
    for caller, target, status in [
        ("bob", "bob/x", 403),
        ("carol", "carol/x", 404),
        ("walter", "carol/x", 403),
        ("walter", "absent/x", 403),
        ("walter", "walter/.x", 400),
        ("walter", "x", 400),
        ("alice-read", "alice/x", 403),
        ("anonymous", "alice/x", 401),
    ]:
        with running.http(caller) as http:
            body = {"fromRepo": shared, "toRepo": target, "type": "model"}
            assert http.post("/api/repos/move", json=body).status_code == status
    assert api.model_info(shared).id == shared


def test_another_case_of_the_same_name(api, repository) -> None:
    api.move_repo(repository, repository.replace("repository", "Repository"))
    assert api.model_info(repository).id == repository.replace("repository", "Repository")
