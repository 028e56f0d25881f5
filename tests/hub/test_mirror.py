"""Repositories of another hub are kept here too: verified, under the ids that they have there."""

import json
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

from fin_qlora_hub.access.identity import Role, add_organization, add_user, grant
from fin_qlora_hub.access.protection import hold, protect
from fin_qlora_hub.access.visibility import Kind, RepositoryName
from fin_qlora_hub.care.checking import check, scrub
from fin_qlora_hub.care.exporting import export
from fin_qlora_hub.care.importing import take_in
from fin_qlora_hub.errors import (
    AlreadyExistsError,
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    UpstreamError,
)
from fin_qlora_hub.mirrors.following import list_followed
from fin_qlora_hub.mirrors.mirroring import Mirroring
from fin_qlora_hub.mirrors.registry import remove_mirror
from fin_qlora_hub.repositories.repository import find_repository

WEIGHTS = random.Random(7).randbytes(2_500_000)
BASE = RepositoryName(Kind.MODEL, "lab", "Base")
FILES = {
    "model.safetensors": WEIGHTS,
    "config.json": b'{"model_type": "llama"}',
    "README.md": "---\nlicense: mit\n---\nä".encode(),
    "d/e/ä ö.txt": b"deep",
}


def fill(api, name: str = "lab/Base", files=FILES, **where) -> str:
    """Upload files and return the commit."""
    for path, data in files.items():
        api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=name, **where)
    return api.repo_info(name, **where).sha


@pytest.fixture
def there(start_hub, tmp_path):
    """The hub that is mirrored: alice owns the organization `lab`, which has a model."""
    with start_hub(tmp_path / "there") as hub:
        with hub.hub.database.writing() as session:
            add_organization(session, "lab", owner="alice")
        hub.api().create_repo("lab/Base")
        fill(hub.api())
        yield hub


@pytest.fixture
def mirrored(there, start_hub, tmp_path):
    """Start a hub that mirrors the other one: `with mirrored(mirror_allow="lab/*")`."""

    def start(**options: object):
        settings = {
            "mirror_upstream": there.url,
            "mirror_token": there.tokens["alice-read"],
            "mirror_readers": "everyone",
            "outgoing_networks": "127.0.0.0/8",
        }
        return start_hub(tmp_path / "here", **{**settings, **options})

    return start


@pytest.fixture
def here(mirrored):
    """A hub that mirrors by command alone."""
    with mirrored() as hub:
        yield hub


def take(hub, name=BASE, revision="main"):
    made = Mirroring(hub.hub.settings, hub.hub.database, hub.hub.storage)
    return made.take(name, revision, whole=True)


def sound(hub) -> bool:
    return list(check(hub.hub)) == list(scrub(hub.hub)) == []


def test_a_repository_arrives_as_it_is_there(there, here, tmp_path) -> None:
    origin, copy = there.api(), here.api("carol")
    oid = origin.model_info("lab/Base").sha
    made = take(here, RepositoryName(Kind.MODEL, "LAB", "base"))  # in whatever case
    assert (made.name, made.commit, made.new) == ("lab/Base", oid, True)
    info, known = (api.model_info("lab/Base", files_metadata=True) for api in (copy, origin))
    assert info.sha == oid
    assert not info.private
    assert "license:mit" in info.tags
    assert [(s.rfilename, s.blob_id, s.size, s.lfs) for s in info.siblings] == [
        (s.rfilename, s.blob_id, s.size, s.lfs) for s in known.siblings
    ]
    trees = [
        [(e.path, getattr(e, "blob_id", None) or e.tree_id) for e in tree]
        for tree in (api.list_repo_tree("lab/Base", recursive=True) for api in (copy, origin))
    ]
    assert trees[0] == trees[1]
    for revision in ("main", oid, oid[:9]):
        folder = copy.snapshot_download(
            "lab/Base", revision=revision, cache_dir=tmp_path / revision
        )
        for path, data in FILES.items():
            assert (tmp_path / revision / folder / path).read_bytes() == data
    (commit,) = copy.list_repo_commits("lab/Base")
    newest = origin.list_repo_commits("lab/Base")[0]
    assert (commit.commit_id, commit.title, commit.created_at) == (
        newest.commit_id,
        newest.title,
        newest.created_at,
    )
    assert sound(here)
    with pytest.raises(HfHubHTTPError, match=r"may read .* not change"):
        here.api().upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="lab/Base")
    assert not take(here).new


def test_it_follows_where_branches_and_tags_go(there, here) -> None:
    origin, copy = there.api(), here.api("bob")
    first = take(here).commit
    origin.create_tag("lab/Base", tag="v1")
    second = fill(origin, files={"config.json": b'{"model_type": "qwen2"}'})
    origin.create_branch("lab/Base", branch="side", revision=first)
    assert copy.model_info("lab/Base").sha == first
    assert take(here).commit == second
    assert take(here, revision="v1").commit == take(here, revision="side").commit == first
    references = copy.list_repo_refs("lab/Base")
    assert [(b.name, b.target_commit) for b in references.branches] == [
        ("main", second),
        ("side", first),
    ]
    assert [(t.name, t.target_commit) for t in references.tags] == [("v1", first)]
    assert copy.model_info("lab/Base", expand=["config"]).config == {"model_type": "qwen2"}
    assert [c.commit_id for c in copy.list_repo_commits("lab/Base")] == [second, first]
    origin.super_squash_history("lab/Base")  # another commit, with the same files
    squashed = take(here).commit
    assert squashed == origin.model_info("lab/Base").sha
    assert copy.model_info("lab/Base", revision=first).sha == first  # whoever pinned it has it
    assert sound(here)
    with here.hub.database.reading() as session:
        followed = list_followed(session)
    assert [(f.revision, f.commit, f.problem) for f in followed] == [
        ("main", squashed, None),
        ("side", first, None),
        ("v1", first, None),
    ]


def test_a_pinned_commit_alone(there, here) -> None:
    origin, copy = there.api(), here.api()
    first = origin.model_info("lab/Base").sha
    second = fill(origin, files={"more": b"more"})
    assert take(here, revision=first).commit == first
    assert copy.model_info("lab/Base", revision=first).sha == first
    assert copy.model_info("lab/Base").sha == first  # nothing else is here
    assert not copy.revision_exists("lab/Base", second)
    assert take(here).commit == copy.model_info("lab/Base").sha == second
    assert sound(here)


def test_data_sets(there, here) -> None:
    there.api().create_repo("lab/Base", repo_type="dataset")
    oid = fill(there.api(), files={"a.parquet": b"1"}, repo_type="dataset")
    name = RepositoryName(Kind.DATASET, "lab", "Base")
    assert take(here, name).commit == oid
    assert here.api().dataset_info("lab/Base").sha == oid
    assert not here.api().repo_exists("lab/Base")


def test_only_those_read_who_were_let_in(there, mirrored, tmp_path) -> None:
    with mirrored(mirror_readers="granted") as here:
        take(here)
        for caller in ("alice", "bob"):
            assert not here.api(caller).repo_exists("lab/Base")
            assert list(here.api(caller).list_models()) == []
            with pytest.raises(GatedRepoError, match="not on this hub"):
                here.api(caller).hf_hub_download("lab/Base", "config.json", cache_dir=tmp_path)
        with here.hub.database.writing() as session:
            grant(session, "lab", "bob", role=Role.READ)
            with pytest.raises(BadRequestError, match="mirrored"):
                grant(session, "lab", "alice", role=Role.WRITE)
        assert here.api("bob").hf_hub_download("lab/Base", "config.json", cache_dir=tmp_path)
        assert [m.id for m in here.api("bob").list_models()] == ["lab/Base"]
        with pytest.raises(HfHubHTTPError, match="rights to create"):
            here.api("bob").create_repo("lab/other")
        with here.http("anonymous") as http:
            assert http.get("/api/models/lab/Base").status_code == 401
        with here.http("bob") as http:  # what would be there is not told from what could not
            with pytest.raises(GatedRepoError):
                here.api("bob").hf_hub_download("lab/none", "config.json", cache_dir=tmp_path)
            assert http.get("/api/models/lab/none").headers["x-error-code"] == "RepoNotFound"


def test_what_is_here_by_itself_wins(there, here) -> None:
    with here.hub.database.writing() as session:
        add_organization(session, "lab", owner="bob")
    here.api("bob").create_repo("lab/Base")
    with pytest.raises(AlreadyExistsError, match="of this hub"):
        take(here)
    assert here.api("bob").list_repo_files("lab/Base") == [".gitattributes"]


def test_nobody_takes_the_name_of_what_is_mirrored(there, here) -> None:
    take(here)
    with here.hub.database.writing() as session:
        with pytest.raises(AlreadyExistsError):
            add_user(session, "Lab")
        with pytest.raises(NotFoundError, match="no user"):
            grant(session, "desk", "lab", role=Role.READ)
    with here.hub.database.writing() as session:
        remove_mirror(session, here.hub.settings, BASE)
    assert not here.api().repo_exists("lab/Base")
    with here.hub.database.writing() as session:
        add_user(session, "Lab")  # it is free again
        with pytest.raises(NotFoundError):
            remove_mirror(session, here.hub.settings, BASE)
    assert sound(here)


def test_what_is_protected_here_stays(there, here) -> None:
    first = take(here).commit
    there.api().create_tag("lab/Base", tag="v1")
    take(here, revision="v1")
    with here.hub.database.writing() as session:
        repository = find_repository(session, BASE)
        for name in ("main", "v1"):
            protect(session, repository, name, by="alice")
    second = fill(there.api(), files={"more": b"more"})
    there.api().delete_tag("lab/Base", tag="v1")
    there.api().create_branch("lab/Base", branch="v1")
    for revision in ("main", "v1"):
        with pytest.raises(ForbiddenError, match="protected"):
            take(here, revision=revision)
        assert here.api().model_info("lab/Base", revision=revision).sha == first
    with here.hub.database.reading() as session:
        assert "protected" in list_followed(session)[0].problem
    assert take(here, revision=second).commit == second  # by its id it may come
    with here.hub.database.writing() as session, pytest.raises(ForbiddenError):
        remove_mirror(session, here.hub.settings, BASE)
    assert sound(here)


@pytest.mark.sqlite
def test_who_reads_is_as_the_settings_say(there, mirrored, tmp_path) -> None:
    with mirrored() as here:
        take(here)
        assert here.api("carol").repo_exists("lab/Base")
        tokens = here.tokens
    with mirrored(mirror_readers="granted", tokens=tokens) as here:
        assert not here.api("carol").repo_exists("lab/Base")
        with here.hub.database.writing() as session:
            hold(session, find_repository(session, BASE), reason="a case")
    with mirrored(tokens=tokens) as here:  # what is held is shown to nobody else
        assert not here.api("carol").repo_exists("lab/Base")


def test_what_was_removed_may_come_back(there, here) -> None:
    oid = take(here).commit
    with here.hub.database.writing() as session:
        remove_mirror(session, here.hub.settings, BASE)
    assert not here.api().repo_exists("lab/Base")
    assert take(here).commit == oid
    assert here.api().model_info("lab/Base").sha == oid
    assert sound(here)


def test_a_mirror_that_is_removed_while_it_comes_is_told(there, here, monkeypatch) -> None:
    fetch_one = Mirroring._fetch_one

    def removed_meanwhile(self, number, found, file):
        done = fetch_one(self, number, found, file)
        if file.path == "model.safetensors":
            with here.hub.database.writing() as session:
                remove_mirror(session, here.hub.settings, BASE)
        return done

    with monkeypatch.context() as removing:
        removing.setattr(Mirroring, "_fetch_one", removed_meanwhile)
        with pytest.raises(NotFoundError, match="removed while its files were on their way"):
            take(here)
    assert not here.api().repo_exists("lab/Base")
    assert take(here).commit == there.api().model_info("lab/Base").sha
    assert sound(here)


def test_a_mirrored_repository_goes_on_to_a_site_without_a_network(
    here, start_hub, tmp_path
) -> None:
    oid = take(here).commit
    key = Ed25519PrivateKey.generate()
    export(here.hub, [BASE], tmp_path / "bundle", key=key)
    with start_hub(tmp_path / "away") as away, (tmp_path / "bundle").open("rb") as bundle:
        take_in(away.hub, bundle, trusted=[key.public_key()], into="bob")
        got = away.api("bob").snapshot_download(
            "bob/Base", revision=oid, local_dir=tmp_path / "got"
        )
        assert (tmp_path / got / "model.safetensors").read_bytes() == WEIGHTS
        assert sound(away)


def test_what_went_away_there_stays_here(there, here) -> None:
    oid = take(here).commit
    there.api().delete_repo("lab/Base")
    with pytest.raises(UpstreamError, match="answers 404 RepoNotFound"):
        take(here)
    assert here.api().model_info("lab/Base").sha == oid
    with here.hub.database.reading() as session:
        (followed,) = list_followed(session)
    assert "404 RepoNotFound" in followed.problem
    with pytest.raises(UpstreamError, match="404"):
        take(here, RepositoryName(Kind.MODEL, "lab", "none"))
    assert not here.api().repo_exists("lab/none")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mirror_repository_bytes": 2_000_000}, "MIRROR_REPOSITORY_BYTES"),
        ({"mirror_total_bytes": 2_000_000}, "MIRROR_TOTAL_BYTES"),
        ({"max_file_bytes": 2_000_000}, "MAX_FILE_BYTES"),
        ({"max_operations": 3}, "more than 3 files"),
        ({"outgoing_networks": "10.0.0.0/8"}, "no public address|asked only in the networks"),
    ],
)
def test_limits(mirrored, options, match) -> None:
    with mirrored(**options) as here:
        with pytest.raises(UpstreamError, match=match):
            take(here)
        assert not here.api().repo_exists("lab/Base")
        assert sound(here)


def test_the_commands(there, here, command, monkeypatch) -> None:
    settings = here.hub.settings
    monkeypatch.setenv("FIN_QLORA_HUB_DATA_DIR", str(settings.data_dir))
    if settings.database_url is not None:
        monkeypatch.setenv("FIN_QLORA_HUB_DATABASE_URL", settings.database_url.get_secret_value())
    assert "MIRROR_UPSTREAM" in command("mirror", "add", "lab/Base").stderr
    monkeypatch.setenv("FIN_QLORA_HUB_MIRROR_UPSTREAM", there.url)
    monkeypatch.setenv("FIN_QLORA_HUB_MIRROR_TOKEN", there.tokens["alice-read"])
    assert "NETWORKS" in command("mirror", "add", "lab/Base").stderr
    monkeypatch.setenv("FIN_QLORA_HUB_OUTGOING_NETWORKS", "127.0.0.0/8")
    there.api().create_tag("lab/Base", tag="v1")
    made = command("mirror", "add", "lab/Base", "lab/Base@v1", "--format", "json")
    oid = there.api().model_info("lab/Base").sha
    assert [json.loads(line)["commit"] for line in made.stdout.splitlines()] == [oid, oid]
    newer = fill(there.api(), files={"n": b"n"})
    there.api().delete_tag("lab/Base", tag="v1")
    done = command("mirror", "sync", "--format", "quiet")
    assert done.returncode == 1
    assert newer in done.stdout
    assert "v1" in done.stdout
    rows = [
        json.loads(row) for row in command("mirror", "list", "--format", "json").stdout.splitlines()
    ]
    assert [(r["revision"], r["commit"], bool(r["problem"])) for r in rows] == [
        ("main", newer, False),
        ("v1", oid, True),
    ]
    assert "lab/Base@main" in command("mirror", "list").stdout
    assert command("mirror", "remove", "lab/Base@v1").returncode == 0
    assert command("mirror", "remove", "lab/Base@v1").returncode == 5
    assert command("mirror", "sync").returncode == 0
    assert command("mirror", "remove", "lab/Base").returncode == 0
    assert command("mirror", "list").stdout == ""
