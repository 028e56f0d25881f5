"""A repository made of another one has its history and its files, and lives its own life."""

import random

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from fin_qlora_hub.care.checking import check

WEIGHTS = random.Random(5).randbytes(2_000_000)


@pytest.fixture
def source(api, new_name) -> str:
    name = new_name("desk")
    api.create_repo(name)
    files = {"README.md": b"---\nlicense: mit\n---\n", "d/w.safetensors": WEIGHTS, "f": b"1"}
    for path, content in files.items():
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=name)
    api.create_tag(name, tag="v1")
    api.create_branch(name, branch="side")
    add = CommitOperationAdd("g", b"2")
    api.create_commit(name, [add], commit_message="a request", create_pr=True)
    return name


def test_history_names_and_files_are_the_same(api, running, source, new_name, tmp_path) -> None:
    copy = new_name()
    made = api.duplicate_repo(source, copy)
    assert made.repo_id == copy
    old, new = api.model_info(source), api.model_info(copy)
    assert (new.sha, new.tags, new.private) == (old.sha, old.tags, True)
    assert [c.commit_id for c in api.list_repo_commits(copy)] == [
        c.commit_id for c in api.list_repo_commits(source)
    ]
    refs = api.list_repo_refs(copy, include_pull_requests=True)
    assert {ref.name for ref in (*refs.branches, *refs.tags)} == {"main", "side", "v1"}
    assert refs.pull_requests == []
    api.delete_repo(source)
    path = api.hf_hub_download(copy, "d/w.safetensors", revision="v1", cache_dir=tmp_path)
    with open(path, "rb") as file:
        assert file.read() == WEIGHTS
    api.upload_file(path_or_fileobj=b"more", path_in_repo="more", repo_id=copy)
    assert (
        api.create_commit(
            copy, [CommitOperationAdd("h", b"3")], commit_message="again", create_pr=True
        ).pr_num
        == 1
    )
    assert list(check(running.hub)) == []


def test_who_may_not_read_or_write_makes_nothing(api, running, source, new_name) -> None:
    with pytest.raises(RepositoryNotFoundError):
        running.api("carol").duplicate_repo(source, new_name("carol"))
    with pytest.raises(HfHubHTTPError, match="rights to create"):
        running.api("bob").duplicate_repo(source, new_name("desk"))
    with pytest.raises(HfHubHTTPError, match="already created"):
        api.duplicate_repo(source, source)
    assert running.api("bob").duplicate_repo(source, new_name("bob")).repo_id
    api.update_repo_settings(source, visibility="public", gated="manual")
    with pytest.raises(GatedRepoError):
        running.api("carol").duplicate_repo(source, new_name("carol"))
    api.grant_access(source, "carol")
    theirs = running.api("carol").duplicate_repo(source, new_name("carol"), private=True).repo_id
    assert running.api("carol").model_info(theirs).private
    assert not api.repo_exists(theirs)


def test_a_repeated_request_in_the_copy_is_a_new_one(api, running, source, new_name) -> None:
    """The words of a commit of the source, sent to the copy, are not taken for a repetition."""
    copy = new_name()
    api.duplicate_repo(source, copy)
    api.delete_file("f", copy)
    api.upload_file(path_or_fileobj=b"1", path_in_repo="f", repo_id=copy)
    assert "f" in api.list_repo_files(copy)
