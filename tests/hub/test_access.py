"""Nobody reads or changes what is not theirs, and nobody learns that it exists."""

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from fin_qlora_hub.access.identity import Role, create_token, revoke_token

READS = [
    ("GET", "/api/models/{}"),
    ("GET", "/api/models/{}/revision/main"),
    ("GET", "/api/models/{}/tree/main"),
    ("GET", "/api/models/{}/tree/main/folder"),
    ("POST", "/api/models/{}/paths-info/main"),
    ("GET", "/api/models/{}/refs"),
    ("GET", "/api/models/{}/commits/main"),
    ("GET", "/api/models/{}/auth-check"),
    ("GET", "/{}/resolve/main/.gitattributes"),
    ("HEAD", "/{}/resolve/main/.gitattributes"),
]
WRITES = [
    ("POST", "/api/models/{}/branch/x", {}),
    ("DELETE", "/api/models/{}/branch/x", None),
    ("POST", "/api/models/{}/tag/main", {"tag": "x"}),
    ("DELETE", "/api/models/{}/tag/x", None),
    ("PUT", "/api/models/{}/settings", {"visibility": "public"}),
    ("POST", "/api/models/{}/preupload/main", {"files": []}),
    ("POST", "/api/models/{}/commit/main", None),
    ("GET", "/api/models/{}/auth-check/write", None),
]


def answers(http, method: str, path: str, body=None) -> tuple[int, str, str]:
    answer = http.request(method, path, json=body)
    return answer.status_code, answer.headers["x-error-code"], answer.text


def whole_answer(http, method: str, path: str) -> tuple[int, str, str, dict[str, str]]:
    answer = http.request(method, path)
    headers = {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id")}
    return answer.status_code, headers["x-error-code"], answer.text, headers


@pytest.mark.parametrize(("method", "path"), READS)
def test_private_looks_like_missing(running, shared, method, path) -> None:
    with running.http("anonymous") as http:
        private = answers(http, method, path.format(shared))
        assert private == answers(http, method, path.format("desk/missing"))
        assert private[:2] == (401, "RepoNotFound")
    expected = (404, "RepoNotFound")
    if "/resolve/" in path:
        expected = (403, "GatedRepo")
    elif path.endswith("/folder"):
        expected = (404, "EntryNotFound")
    with running.http("carol") as http:
        private = whole_answer(http, method, path.format(shared))
        assert private[:2] == expected
        assert private == whole_answer(http, method, path.format("desk/missing"))
        assert private == whole_answer(http, method, path.format("absent/missing"))


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_writing_needs_the_role(running, shared, method, path, body) -> None:
    for caller, expected in [
        ("anonymous", (401, "RepoNotFound")),
        ("carol", (404, "RepoNotFound")),
        ("bob", (403, "Forbidden")),
        ("alice-read", (403, "Forbidden")),
    ]:
        with running.http(caller) as http:
            assert answers(http, method, path.format(shared), body)[:2] == expected
            missing = answers(http, method, path.format("desk/missing"), body)
            if expected[0] != 403:
                assert answers(http, method, path.format(shared), body) == missing
    assert running.api().list_repo_files(shared) == [".gitattributes"]


def test_roles_in_an_organization(running, shared, new_name) -> None:
    bob, walter = running.api("bob"), running.api("walter")
    walter.upload_file(path_or_fileobj=b"x", path_in_repo="f", repo_id=shared)
    assert "f" in bob.list_repo_files(shared)
    with pytest.raises(HfHubHTTPError, match="role 'write' in 'desk'"):
        bob.upload_file(path_or_fileobj=b"y", path_in_repo="f", repo_id=shared)
    with pytest.raises(HfHubHTTPError, match="rights to create"):
        bob.create_repo(new_name("desk"))
    with pytest.raises(HfHubHTTPError, match="token with the role 'write'"):
        running.api("alice-read").delete_repo(shared)
    walter.delete_repo(shared)


def test_create_tells_nothing_of_other_namespaces(running, shared) -> None:
    body = {"organization": "desk", "name": shared.split("/")[1]}
    with running.http("carol") as http:
        taken = answers(http, "POST", "/api/repos/create", body)
        free = answers(http, "POST", "/api/repos/create", {**body, "name": "free"})
        absent = http.post("/api/repos/create", json={**body, "organization": "absent"})
    assert taken == free
    assert taken[0] == absent.status_code == 403
    with running.http("anonymous") as http:
        assert answers(http, "POST", "/api/repos/create", body)[0] == 401
        assert http.get("/api/models").status_code == 401
    with pytest.raises(HfHubHTTPError, match="rights to create"):
        running.api("carol").create_repo(shared, exist_ok=True)
    with pytest.raises(RepositoryNotFoundError):
        running.api("carol").delete_repo(shared)


def test_repo_exists_answers_for_everyone(running, shared) -> None:
    assert running.api("alice").repo_exists(shared)
    for caller in ("carol", "anonymous"):
        assert not running.api(caller).repo_exists(shared)
        assert not running.api(caller).repo_exists("desk/missing")
        assert not running.api(caller).repo_exists("absent/missing")
        assert not running.api(caller).repo_exists("missing")


def test_a_base_model_from_elsewhere_sends_clients_to_their_cache(running, tmp_path) -> None:
    for name in ("absent/base", "gpt2"):
        with pytest.raises(GatedRepoError, match="not on this hub"):
            running.api().hf_hub_download(name, "config.json", cache_dir=tmp_path)
    with pytest.raises(RepositoryNotFoundError) as refused:
        running.api().hf_hub_download("desk/missing", "config.json", cache_dir=tmp_path)
    assert not isinstance(refused.value, GatedRepoError)
    # that some of a namespace was published here takes the cache of the rest from nobody
    with pytest.raises(GatedRepoError, match="not on this hub"):
        running.api("carol").hf_hub_download("desk/missing", "config.json", cache_dir=tmp_path)
    assert not running.api().file_exists("absent/base", "config.json")
    assert not running.api().file_exists("gpt2", "config.json")
    with running.http() as http:
        older = {"User-Agent": "unknown/None; hf_hub/1.8.0; python/3.11"}
        answer = http.head("/gpt2/resolve/main/config.json", headers=older)
        assert (answer.status_code, answer.headers["x-error-code"]) == (403, "GatedRepo")
        answer = http.get("/api/models/absent/base/tree/main/additional_chat_templates")
        assert answer.headers["x-error-code"] == "EntryNotFound"
    with running.http("anonymous") as http:
        answer = http.head("/absent/base/resolve/main/config.json")
        assert (answer.status_code, answer.headers["x-error-code"]) == (401, "RepoNotFound")


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer fqh_wrong", "Basic YTpi", "Bearer"])
def test_a_wrong_token_is_told(running, repository, header) -> None:
    with running.http("anonymous") as http:
        http.headers["Authorization"] = header
        for path in ("/api/whoami-v2", f"/api/models/{repository}", "/api/models"):
            answer = http.get(path)
            assert answer.status_code == 401
            assert (
                answer.headers["x-error-message"] == "Invalid credentials in Authorization header"
            )


def test_tokens_expire_and_can_be_revoked(running) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    with running.hub.database.writing() as session:
        old = create_token(session, "alice", name="old", role=Role.WRITE, expires_at=past)
        new = create_token(session, "alice", name="new", role=Role.WRITE)
    with running.http("anonymous") as http:

        def status(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return http.get("/api/whoami-v2", headers=headers).status_code

        assert (status(old), status(new)) == (401, 200)
        with running.hub.database.writing() as session:
            revoke_token(session, "alice", name="new")
        assert status(new) == 401


@pytest.mark.sqlite
def test_tokens_are_kept_only_as_digests(running) -> None:
    # By another process: whoever closes a file of SQLite takes this process's locks away.
    files = map(str, running.hub.settings.data_dir.glob("hub.sqlite3*"))
    kept = subprocess.run(["cat", *files], capture_output=True, check=True).stdout
    assert b"alice" in kept
    for token in running.tokens.values():
        assert token.encode() not in kept


def test_strangers_learn_nothing_of_the_disk(running, shared, monkeypatch) -> None:
    monkeypatch.setattr("fin_qlora_hub.routes.upload.check_path", pytest.fail)
    monkeypatch.setattr(
        "fin_qlora_hub.stores.local_blobs.LocalBlobStore.require_space", pytest.fail
    )
    body = {"files": [{"path": f"a{n}", "size": 10**15} for n in range(3000)]}
    for caller, status in (("anonymous", 401), ("carol", 404), ("bob", 403)):
        with running.http(caller) as http:
            for name in (shared, "desk/missing"):
                answer = http.post(f"/api/models/{name}/preupload/main", json=body)
                assert answer.status_code == (
                    404 if (caller, name) == ("bob", "desk/missing") else status
                )


def test_a_hash_opens_no_other_repository(running, repository, new_name) -> None:
    secret = b"the weights of another desk"
    api = running.api()
    api.upload_file(path_or_fileobj=secret, path_in_repo="w.safetensors", repo_id=repository)
    sha256 = api.get_paths_info(repository, ["w.safetensors"])[0].lfs.sha256
    theirs = new_name("carol")
    running.api("carol").create_repo(theirs)
    body = '{"key":"header","value":{"summary":"s"}}\n{"key":"lfsFile","value":' + (
        f'{{"path":"w.safetensors","algo":"sha256","oid":"{sha256}","size":{len(secret)}}}}}\n'
    )
    with running.http("carol") as http:
        answer = http.post(f"/api/models/{theirs}/commit/main", content=body.encode())
    assert answer.status_code == 400
    assert running.api("carol").list_repo_files(theirs) == [".gitattributes"]
