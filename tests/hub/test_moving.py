"""A moved repository is found under its old name, by those who may read the new one."""

from pathlib import Path

import pytest
from huggingface_hub.errors import HfHubHTTPError


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


def test_whoever_takes_the_old_name_has_it(api, moved) -> None:
    old, new = moved
    api.create_repo(old)
    assert api.model_info(old).id == old
    assert api.model_info(new).id == new
    api.delete_repo(old)
    assert not api.repo_exists(old)


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
