"""Protected branches and tags stay where they are, and nothing is lost of what is held."""

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError

from fin_qlora_hub.access.protection import hold, protect, release, unprotect
from fin_qlora_hub.repositories.repository import read_name, require_repository


@pytest.fixture
def filled(api, shared) -> str:
    """A repository with weights in its first tag, and a branch that goes on from there."""
    api.upload_file(path_or_fileobj=b"w" * 100, path_in_repo="w.bin", repo_id=shared)
    api.create_tag(shared, tag="v1")
    api.create_branch(shared, branch="stable")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.bin", repo_id=shared)
    return shared


@pytest.fixture
def keeping(running, filled):
    """Protect references, or hold the repository, as the command line would."""

    def act(function, *arguments, **named) -> None:
        with running.hub.database.writing() as session:
            found = require_repository(session, read_name(filled))
            function(session, found, *arguments, **named)

    return act


@pytest.fixture
def protected(running, filled) -> str:
    with running.http() as http:
        for name, full in (("v1", "refs/tags/v1"), ("refs%2Fheads%2Fstable", "refs/heads/stable")):
            answer = http.post(f"/api/models/{filled}/protected/{name}")
            assert answer.json() == {"ref": full}
    return filled


def status(running, method: str, path: str, body=None, *, caller: str = "alice") -> int:
    with running.http(caller) as http:
        content = {"content": body} if isinstance(body, str) else {"json": body}
        answer = http.request(method, path, **content)
        if answer.status_code == 403:
            assert "protected" in answer.json()["error"] or "hold" in answer.json()["error"]
        return answer.status_code


def sha256_of(api, name: str, path: str, revision: str = "main") -> str:
    return api.get_paths_info(name, [path], revision=revision)[0].lfs.sha256


COMMIT = (
    '{"key":"header","value":{"summary":"s"}}\n'
    '{"key":"file","value":{"path":"n","content":"eA==","encoding":"base64"}}\n'
)


def test_a_protected_tag_stays(api, running, protected) -> None:
    before = api.model_info(protected, revision="v1").sha
    models = f"/api/models/{protected}"
    deletion = {"deletions": {"sha": [sha256_of(api, protected, "w.bin")], "rewriteHistory": True}}
    for method, path, body in [
        ("DELETE", f"{models}/tag/v1", None),
        ("POST", f"{models}/branch/v1", {}),
        ("POST", f"{models}/lfs-files/batch", deletion),
        ("DELETE", "/api/repos/delete", {"name": protected}),
    ]:
        assert status(running, method, path, body) == 403, (method, path)
    assert status(running, "POST", f"{models}/tag/main", {"tag": "v1"}) == 409
    assert api.model_info(protected, revision="v1").sha == before
    assert {ref.name for ref in api.list_repo_refs(protected).branches} == {"main", "stable"}
    # main itself is free, and so is what no protected state holds
    deletion["deletions"]["sha"] = [sha256_of(api, protected, "x.bin")]
    assert status(running, "POST", f"{models}/lfs-files/batch", deletion) == 200
    api.super_squash_history(protected)
    assert api.model_info(protected, revision="v1").sha == before
    assert "w.bin" in api.list_repo_files(protected, revision="v1")


def test_a_protected_branch_stays(api, running, protected, keeping) -> None:
    before = api.model_info(protected, revision="stable").sha
    models = f"/api/models/{protected}"
    for method, path, body in [
        ("DELETE", f"{models}/branch/stable", None),
        ("POST", f"{models}/super-squash/stable", None),
        ("POST", f"{models}/commit/stable", COMMIT),
        ("POST", f"{models}/commit/refs%2Fheads%2Fstable", COMMIT),
        ("POST", f"{models}/preupload/stable", {"files": []}),
        ("POST", f"{models}/tag/main", {"tag": "stable"}),
    ]:
        assert status(running, method, path, body) == 403, (method, path)
    keeping(protect, "main", by="alice")
    api.create_branch(protected, branch="side")
    made = api.create_commit(
        protected,
        [CommitOperationAdd("n", b"n")],
        commit_message="into a request",
        create_pr=True,
    )
    assert status(running, "POST", f"{models}/discussions/{made.pr_num}/merge", {}) == 403
    assert api.model_info(protected, revision="stable").sha == before
    keeping(unprotect, "main")
    api.merge_pull_request(protected, made.pr_num)
    assert "n" in api.list_repo_files(protected)


def test_who_may_protect(api, running, filled) -> None:
    path = f"/api/models/{filled}/protected/v1"
    for caller, expected in [
        ("walter", 403),
        ("bob", 403),
        ("alice-read", 403),
        ("carol", 404),
        ("anonymous", 401),
    ]:
        with running.http(caller) as http:
            assert http.post(path).status_code == expected
    with running.http() as http:
        assert http.post(path + "x").status_code == 404
        assert http.post(path).status_code == 200
        assert http.post(path).status_code == 409
        assert http.delete(path).status_code == 404  # only on the server's own machine
    with running.http("bob") as http:
        shown = http.get(f"/api/models/{filled}/protected").json()
    assert [(one["ref"], one["protectedBy"]) for one in shown["references"]] == [
        ("refs/tags/v1", "alice")
    ]
    assert shown["held"] is False


def test_what_clients_may_take_for_one_another_is_not_protected(api, filled, keeping) -> None:
    api.create_branch(filled, branch="v1")
    with pytest.raises(Exception, match="cannot be protected beside refs/heads/v1"):
        keeping(protect, "v1", by="alice")


def test_nothing_of_a_held_repository_is_lost(api, running, filled, keeping, new_name) -> None:
    keeping(hold, reason="case 7")
    models = f"/api/models/{filled}"
    deletion = {"deletions": {"sha": [sha256_of(api, filled, "x.bin")], "rewriteHistory": True}}
    for method, path, body in [
        ("DELETE", "/api/repos/delete", {"name": filled}),
        ("POST", "/api/repos/move", {"fromRepo": filled, "toRepo": new_name(), "type": "model"}),
        ("PUT", f"{models}/settings", {"visibility": "public"}),
        ("PUT", f"{models}/settings", {"gated": "auto"}),
        ("DELETE", f"{models}/branch/stable", None),
        ("DELETE", f"{models}/tag/v1", None),
        ("POST", f"{models}/super-squash/main", None),
        ("POST", f"{models}/lfs-files/batch", deletion),
    ]:
        assert status(running, method, path, body) == 403, (method, path)
    assert status(running, "PUT", f"{models}/settings", {"visibility": "private"}) == 200
    api.upload_file(path_or_fileobj=b"y", path_in_repo="y", repo_id=filled)  # more may come
    with running.http() as http:
        assert http.get(f"{models}/protected").json()["held"] is True
    keeping(release)
    api.delete_repo(filled)


def test_the_commands(command, start_hub, tmp_path, at) -> None:
    with start_hub(tmp_path / "data") as hub:
        at(hub)
        api = hub.api()
        api.create_repo("desk/a", repo_type="dataset")
        api.create_tag("desk/a", tag="v1", repo_type="dataset")
        api.create_repo("alice/b")
        api.move_repo("alice/b", "alice/c")
        data = "datasets/desk/a"
        assert command("protect", data, "v1").stdout == f"{data} refs/tags/v1 is protected.\n"
        assert command("protect", data, "v1").returncode == 5
        assert command("protect", data, "v2").returncode == 5
        assert command("protect", "desk/a", "v1").stderr.endswith("repository desk/a.\n")
        assert command("protected", data, "--format=quiet").stdout == "refs/tags/v1\n"
        with pytest.raises(HfHubHTTPError, match="protected"):
            api.delete_tag("desk/a", tag="v1", repo_type="dataset")
        assert command("unprotect", data, "v1").returncode == 0
        assert command("unprotect", data, "v1").returncode == 5
        assert command("hold", data, "--reason", " ").returncode == 2
        assert command("hold", data, "--reason", "case 7").returncode == 0
        assert command("hold", data, "--reason", "case 8").returncode == 5
        assert "case 7" in command("held").stdout
        with pytest.raises(HfHubHTTPError, match="under a hold"):
            api.delete_repo("desk/a", repo_type="dataset")
        assert command("release", data).returncode == 0
        assert command("release", data).returncode == 5
        assert command("held").stdout == ""
        assert command("free-name", "alice/b").returncode == 0
        assert command("free-name", "alice/b").returncode == 5
        told = command("audit", "list", "--format=json").stdout
        for act in ("protected", "released"):
            assert f'"reference.{act}"' in told
        for act in ('"hold.placed"', '"hold.released"', '"name.freed"', '"case 7"'):
            assert act in told
        api.create_repo("alice/b")


@pytest.mark.parametrize(
    ("kind", "name", "other"),
    [
        ("branch", "Main", "main"),
        ("branch", "caf\u00e9", "cafe\u0301"),
        ("tag", "V1", "v1"),
        ("tag", "stra\u00dfe", "STRASSE"),
    ],
)
def test_references_that_a_disk_could_not_tell_apart(api, repository, kind, name, other) -> None:
    make = {
        "branch": lambda text: api.create_branch(repository, branch=text),
        "tag": lambda text: api.create_tag(repository, tag=text),
    }[kind]
    if other != "main":
        make(other)
    with pytest.raises(HfHubHTTPError, match="differ only in case or Unicode form"):
        make(name)
    make(name + "2")
