"""Pull requests by those who may read: what they may do, and what they are told on the way."""

import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
)

from fin_qlora_hub.metadata.tables import Namespace, XorbOwner


@pytest.fixture
def public(api, new_name) -> str:
    """The id of a repository of the organization that everyone may read."""
    name = new_name("desk")
    api.create_repo(name, visibility="public")
    return name


def propose(api, repository: str, path: str = "f.safetensors", content: bytes = b"1", **options):
    return api.create_commit(
        repository,
        [CommitOperationAdd(path, content), CommitOperationAdd("notes.md", b"n")],
        commit_message="a proposal",
        **options,
    )


@pytest.mark.parametrize("xet", [True, False])
def test_a_proposal_from_beginning_to_end(api, running, public, tmp_path, xet, monkeypatch) -> None:
    if not xet:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    carol = running.api("carol")
    weights = os.urandom(300_000)
    made = propose(carol, public, content=weights, create_pr=True)
    branch = made.pr_revision
    more = os.urandom(100_000)
    carol.upload_file(path_or_fileobj=more, path_in_repo="g.bin", repo_id=public, revision=branch)
    assert "f.safetensors" not in api.list_repo_files(public)
    with pytest.raises(HfHubHTTPError, match="not change it"):
        carol.merge_pull_request(public, made.pr_num)
    api.merge_pull_request(public, made.pr_num)
    for path, content in (("f.safetensors", weights), ("g.bin", more)):
        fetched = running.api("bob").hf_hub_download(public, path, cache_dir=tmp_path)
        assert Path(fetched).read_bytes() == content


def test_a_folder_is_proposed(running, public, tmp_path) -> None:
    (tmp_path / "w.safetensors").write_bytes(os.urandom(200_000))
    carol = running.api("carol")
    made = carol.upload_folder(folder_path=tmp_path, repo_id=public, create_pr=True)
    assert "w.safetensors" in carol.list_repo_files(public, revision=made.pr_revision)


def test_what_is_not_for_those_who_propose(api, running, public, repository) -> None:
    carol, bob = running.api("carol"), running.api("bob")
    with pytest.raises(HfHubHTTPError, match="not change it"):
        propose(carol, public)
    mine = propose(carol, public, create_pr=True)
    with pytest.raises(HfHubHTTPError, match="not change it"):
        propose(bob, public, path="other", revision=mine.pr_revision)
    propose(api, public, path="other", revision=mine.pr_revision)  # who may write helps along
    carol.change_discussion_status(public, mine.pr_num, new_status="closed")
    with pytest.raises(HfHubHTTPError, match="is closed"):
        propose(carol, public, path="late", revision=mine.pr_revision)
    with pytest.raises(HfHubHTTPError, match="token with the role 'write'"):
        propose(running.api("alice-read"), public, create_pr=True)
    with pytest.raises(RepositoryNotFoundError):
        propose(carol, repository, create_pr=True)
    with pytest.raises(RepositoryNotFoundError):
        propose(running.api("anonymous"), public, create_pr=True)
    for branch in ("refs/pr/x", "refs/pr/" + "9" * 30, "main"):
        with pytest.raises(HfHubHTTPError):
            propose(carol, public, revision=branch)


def test_a_gated_repository_takes_proposals_of_those_let_in(api, running, public) -> None:
    api.update_repo_settings(public, gated="manual")
    carol = running.api("carol")
    with pytest.raises(GatedRepoError):
        propose(carol, public, create_pr=True)
    api.grant_access(public, "carol")
    assert propose(carol, public, create_pr=True).pr_num == 1


def test_nobody_learns_what_the_namespace_has_sent(api, running, public, new_name) -> None:
    """The chunks of the namespace's private repositories are as good as absent."""
    secret = os.urandom(200_000)
    hidden = new_name("desk")
    api.create_repo(hidden)
    api.upload_file(path_or_fileobj=secret, path_in_repo="s.bin", repo_id=hidden)
    (entry,) = [one for one in api.list_repo_tree(hidden) if one.path == "s.bin"]

    def asked(caller: str) -> tuple[str, int]:
        with running.http(caller) as http:
            token = http.get(f"/api/models/{public}/xet-write-token/main?create_pr=1").json()
            auth = {"Authorization": f"Bearer {token['accessToken']}"}
            batch = {
                "operation": "upload",
                "transfers": ["basic"],
                "objects": [{"oid": entry.lfs.sha256, "size": len(secret)}],
            }
            told = http.post(f"/{public}.git/info/lfs/objects/batch", json=batch).json()
            assert "actions" in told["objects"][0]
            file = f"{token['casUrl']}/v1/reconstructions/{'0' * 64}"
            assert http.get(file, headers=auth).status_code == 404
            return token["casUrl"].rpartition("-")[2], token["exp"]

    assert asked("walter")[0] == "desk"
    assert asked("carol")[0] == "carol"
    with running.hub.database.reading() as session:
        owners = session.query(XorbOwner.xorb, Namespace.name).join(
            Namespace, Namespace.id == XorbOwner.namespace_id
        )
        before = set(owners)
    propose(running.api("carol"), public, content=secret, create_pr=True)
    with running.hub.database.reading() as session:
        owners = session.query(XorbOwner.xorb, Namespace.name).join(
            Namespace, Namespace.id == XorbOwner.namespace_id
        )
        # She sent it all herself, and it is hers.
        assert {name for _, name in set(owners) - before} == {"carol"}


def test_a_role_that_is_lost_ends_a_proposal(api, running, public) -> None:
    carol = running.api("carol")
    with running.http("carol") as http:
        token = http.get(f"/api/models/{public}/xet-write-token/main?create_pr=1").json()
        url = f"{token['casUrl']}/v1/reconstructions/{'0' * 64}"
        auth = {"Authorization": f"Bearer {token['accessToken']}"}
        assert "no such file" in http.get(url, headers=auth).text
        api.update_repo_settings(public, private=True)
        answer = http.get(url, headers=auth)
        assert (answer.status_code, "Repository not found" in answer.text) == (404, True)
    with pytest.raises(RepositoryNotFoundError):
        propose(carol, public, create_pr=True)
