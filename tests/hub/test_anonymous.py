"""Where the administrator allows it, strangers read what is public, and nothing else."""

import random
from pathlib import Path

import pytest
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

WEIGHTS = random.Random(7).randbytes(2_000_000)


@pytest.fixture(scope="module")
def hub(tmp_path_factory, open_a_hub):
    with open_a_hub(tmp_path_factory.mktemp("open") / "data", anonymous_read=True) as hub:
        alice = hub.api()
        for name, options in (
            ("public", {"visibility": "public"}),
            ("private", {}),
            ("gated", {"visibility": "public"}),
        ):
            alice.create_repo(f"alice/{name}", **options)
            alice.upload_file(
                path_or_fileobj=WEIGHTS, path_in_repo="w.safetensors", repo_id=f"alice/{name}"
            )
        alice.update_repo_settings("alice/gated", gated="manual")
        yield hub


def test_the_stock_client_reads_without_a_token(hub, tmp_path) -> None:
    stranger = hub.api("anonymous")
    assert [m.id for m in stranger.list_models()] == ["alice/gated", "alice/public"]
    assert stranger.model_info("alice/public").sha
    assert set(stranger.list_repo_files("alice/public")) == {".gitattributes", "w.safetensors"}
    path = stranger.hf_hub_download("alice/public", "w.safetensors", cache_dir=tmp_path)
    assert Path(path).read_bytes() == WEIGHTS
    assert stranger.list_repo_refs("alice/public").branches[0].name == "main"


def test_what_is_not_public_looks_like_missing(hub) -> None:
    stranger = hub.api("anonymous")
    with hub.http("anonymous") as http:
        answers = []
        for name in ("alice/private", "alice/missing", "absent/missing"):
            for path in ("/api/models/{}", "/{}/resolve/main/w.safetensors"):
                answer = http.get(path.format(name))
                answers.append((answer.status_code, answer.headers["x-error-code"], answer.text))
        assert len(set(answers)) == 1
        assert answers[0][:2] == (401, "RepoNotFound")
    assert not stranger.repo_exists("alice/private")
    with pytest.raises(RepositoryNotFoundError):
        stranger.model_info("alice/private")


def test_gated_files_need_a_name(hub, tmp_path) -> None:
    stranger = hub.api("anonymous")
    assert stranger.model_info("alice/gated").gated == "manual"
    with pytest.raises(GatedRepoError):
        stranger.hf_hub_download("alice/gated", "w.safetensors", cache_dir=tmp_path)
    with hub.http("anonymous") as http:
        answer = http.get("/api/models/alice/gated/xet-read-token/main")
        assert (answer.status_code, answer.headers["x-error-code"]) == (401, "GatedRepo")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/repos/create", {"name": "x", "organization": "alice"}),
        ("DELETE", "/api/repos/delete", {"name": "public", "organization": "alice"}),
        ("PUT", "/api/models/alice/public/settings", {"visibility": "private"}),
        ("POST", "/api/models/alice/public/commit/main", None),
        ("POST", "/api/models/alice/public/preupload/main", {"files": []}),
        ("POST", "/api/models/alice/public/branch/b", {}),
        ("POST", "/api/models/alice/public/discussions", {"title": "abc", "description": "d"}),
        ("POST", "/alice/gated/ask-access", None),
        ("GET", "/api/models/alice/public/xet-write-token/main", None),
        ("GET", "/api/models/alice/public/auth-check/write", None),
        ("GET", "/api/settings/repositories", None),
        ("GET", "/api/whoami-v2", None),
    ],
)
def test_strangers_change_nothing(hub, method, path, body) -> None:
    with hub.http("anonymous") as http:
        assert http.request(method, path, json=body).status_code == 401
    assert hub.api().model_info("alice/public").private is False


def test_chunks_of_what_became_private_are_closed(hub) -> None:
    hub.api().create_repo("alice/closing", visibility="public")
    hub.api().upload_file(
        path_or_fileobj=WEIGHTS[::-1], path_in_repo="w.safetensors", repo_id="alice/closing"
    )
    with hub.http("anonymous") as http:
        given = http.get("/api/models/alice/closing/xet-read-token/main").json()
        file = http.head("/alice/closing/resolve/main/w.safetensors").headers["x-xet-hash"]
        url = f"{given['casUrl']}/v1/reconstructions/{file}"
        headers = {"Authorization": f"Bearer {given['accessToken']}"}
        assert http.get(url, headers=headers).status_code == 200
        hub.api().update_repo_settings("alice/closing", visibility="private")
        assert http.get(url, headers=headers).status_code == 404
        assert http.get("/api/models/alice/closing/xet-read-token/main").status_code == 401
