"""Repositories go to another site as one signed file, and nothing comes in that was not signed."""

import hashlib
import io
import json
import random
import tarfile

import pytest
from contents import contents_of, flip
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fin_qlora_hub.access.protection import protect
from fin_qlora_hub.care.bundles import BundleWriter, Manifest, Part
from fin_qlora_hub.care.checking import check, scrub
from fin_qlora_hub.care.exporting import export
from fin_qlora_hub.care.importing import take_in
from fin_qlora_hub.errors import (
    AlreadyExistsError,
    BadBundleError,
    ForbiddenError,
    HubError,
    NotFoundError,
    ParentConflictError,
)
from fin_qlora_hub.repositories.repository import Kind, RepositoryName, find_repository

KEY = Ed25519PrivateKey.generate()
WEIGHTS = random.Random(31).randbytes(1_200_000)
MODEL = RepositoryName(Kind.MODEL, "desk", "a")


@pytest.fixture
def home(start_hub, tmp_path):
    """A hub with a model, in chunks and otherwise, and a data set."""
    with start_hub(tmp_path / "home") as hub:
        api = hub.api()
        api.create_repo("desk/a")
        api.upload_file(path_or_fileobj=WEIGHTS, path_in_repo="d/w.bin", repo_id="desk/a")
        card = "---\nlicense: mit\n---\nä".encode()
        api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id="desk/a")
        api.create_tag("desk/a", tag="v1", tag_message="the first")
        api.create_branch("desk/a", branch="side")
        api.upload_file(
            path_or_fileobj=b"side", path_in_repo="s", repo_id="desk/a", revision="side"
        )
        api.create_repo("alice/set", repo_type="dataset")
        yield hub


@pytest.fixture
def away(start_hub, tmp_path):
    """A hub at another site."""
    with start_hub(tmp_path / "away") as hub:
        yield hub


@pytest.fixture
def bundle(home, tmp_path) -> bytes:
    """A bundle of the model and the data set."""
    names = [MODEL, RepositoryName(Kind.DATASET, "alice", "set")]
    made = export(home.hub, names, tmp_path / "bundle", key=KEY)
    assert (made.repositories, made.contents) == (2, 4)
    return (tmp_path / "bundle").read_bytes()


def receive(hub, bundle: bytes, *, key=KEY, into=None):
    return take_in(hub.hub, io.BytesIO(bundle), trusted=[key.public_key()], into=into)


def members(bundle: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def signed(descriptions: list[bytes], contents: list[bytes], *, drop: int = 0) -> bytes:
    """Make a bundle that is signed, whatever it holds."""

    def part(data: bytes) -> Part:
        return Part(sha256=hashlib.sha256(data).hexdigest(), size=len(data))

    contents = sorted(contents, key=lambda data: part(data).sha256)
    manifest = Manifest(
        hub="0",
        created_at="",
        repositories=list(map(part, descriptions)),
        contents=[part(data) for data in contents[drop:]],
    )
    out = io.BytesIO()
    writer = BundleWriter(out, manifest, KEY)
    for number, description in enumerate(descriptions):
        writer.repository(number, description)
    for data in contents[drop:]:
        writer.content(part(data), [data])
    writer.close()
    return out.getvalue()


def test_a_bundle_arrives_whole(home, away, bundle, tmp_path) -> None:
    made = receive(away, bundle)
    assert made.repositories == ("desk/a", "alice/set")
    here, there = home.api(), away.api()
    for revision in ("main", "v1", "side"):
        info = there.model_info("desk/a", revision=revision)
        assert info.sha == here.model_info("desk/a", revision=revision).sha
        commits = [(c.commit_id, c.title, c.created_at) for c in here.list_repo_commits("desk/a")]
        assert commits == [
            (c.commit_id, c.title, c.created_at) for c in there.list_repo_commits("desk/a")
        ]
    info = there.model_info("desk/a")
    assert info.private
    assert "license:mit" in info.tags
    folder = there.snapshot_download("desk/a", local_dir=tmp_path / "got")
    assert (tmp_path / "got" / "d" / "w.bin").read_bytes() == WEIGHTS
    assert folder
    assert there.dataset_info("alice/set").id == "alice/set"
    assert list(check(away.hub)) == list(scrub(away.hub)) == []
    # and it is a repository like any other
    there.upload_file(path_or_fileobj=b"on", path_in_repo="on", repo_id="desk/a")


def test_a_second_bundle_brings_it_up_to_date(home, away, bundle, tmp_path) -> None:
    receive(away, bundle)
    assert receive(away, bundle).repositories == ("desk/a", "alice/set")  # nothing new
    home.api().upload_file(path_or_fileobj=b"2", path_in_repo="two", repo_id="desk/a")
    home.api().create_tag("desk/a", tag="v2")
    export(home.hub, [MODEL], tmp_path / "second", key=KEY)
    second = (tmp_path / "second").read_bytes()
    receive(away, second)
    assert away.api().model_info("desk/a", revision="v2").sha == home.api().model_info("desk/a").sha
    # an old bundle does not turn it back
    with pytest.raises(ParentConflictError, match="nothing was taken"):
        receive(away, bundle)
    assert "two" in away.api().list_repo_files("desk/a")


def test_what_happened_here_is_not_overwritten(home, away, bundle, tmp_path) -> None:
    receive(away, bundle)
    away.api().upload_file(path_or_fileobj=b"mine", path_in_repo="mine", repo_id="desk/a")
    home.api().upload_file(path_or_fileobj=b"2", path_in_repo="two", repo_id="desk/a")
    export(home.hub, [MODEL], tmp_path / "second", key=KEY)
    before = away.api().model_info("desk/a").sha
    with pytest.raises(ParentConflictError):
        receive(away, (tmp_path / "second").read_bytes())
    assert away.api().model_info("desk/a").sha == before
    home.api().delete_tag("desk/a", tag="v1")
    home.api().create_tag("desk/a", tag="v1")
    export(home.hub, [MODEL], tmp_path / "third", key=KEY)
    receive(away, (tmp_path / "third").read_bytes(), into="bob")  # elsewhere it is no conflict
    assert away.api("bob").repo_exists("bob/a")
    with pytest.raises(NotFoundError, match="--into"):
        receive(away, bundle, into="nobody")


def test_a_bundle_hides_nothing_that_is_protected(home, away, bundle, tmp_path) -> None:
    """A tag of the name of a protected branch would be read in its place."""
    receive(away, bundle)
    before = away.api().model_info("desk/a", revision="main").sha
    with away.hub.database.writing() as session:
        protect(session, find_repository(session, MODEL), "main", by="alice")
    home.api().create_tag("desk/a", tag="main", revision="side")
    export(home.hub, [MODEL], tmp_path / "second", key=KEY)
    with pytest.raises(ForbiddenError, match="which is protected"):
        receive(away, (tmp_path / "second").read_bytes())
    assert away.api().model_info("desk/a", revision="main").sha == before
    assert [tag.name for tag in away.api().list_repo_refs("desk/a").tags] == ["v1"]


def test_only_what_somebody_trusted_signed_comes_in(away, bundle) -> None:
    with pytest.raises(BadBundleError, match="none of those"):
        receive(away, bundle, key=Ed25519PrivateKey.generate())
    sound = members(bundle)
    (first, *_) = [name for name in sound if name.startswith("contents/")]
    signature = json.loads(sound["manifest.sig"])
    other = {**signature, "signature": "0" * 128}
    spoilt = {
        "manifest": {**sound, "manifest.json": sound["manifest.json"].replace(b"0.1", b"0.2")},
        "signature": {**sound, "manifest.sig": json.dumps(other).encode()},
        "no signature": {**sound, "manifest.sig": b"{}"},
        "description": {
            **sound,
            "repositories/0.json": sound["repositories/0.json"].replace(b"main", b"mein"),
        },
        "content": {**sound, first: bytes(len(sound[first]))},
        "longer": {**sound, first: sound[first] + b"x"},
        "more": {**sound, "more": b""},
        "less": {name: data for name, data in sound.items() if name != first},
    }
    for what, files in spoilt.items():
        with pytest.raises(BadBundleError):
            receive(away, packed(files))
        assert not away.api().repo_exists("desk/a"), what
    for cut in (0, 100, 2000, len(bundle) // 2, len(bundle) - 20_000):
        with pytest.raises(BadBundleError):
            receive(away, bundle[:cut])
    with pytest.raises(BadBundleError):
        receive(away, b"no bundle" * 1000)
    assert not away.api().repo_exists("desk/a")
    assert receive(away, packed(sound)).repositories == ("desk/a", "alice/set")


def test_a_link_is_no_content(away, bundle) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members(bundle).items():
            member = tarfile.TarInfo(name)
            if name.startswith("contents/"):
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(member)
            else:
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    with pytest.raises(BadBundleError, match="where it should"):
        receive(away, out.getvalue())


def test_even_a_trusted_signer_cannot_send_nonsense(away, bundle) -> None:
    sound = members(bundle)
    contents = [data for name, data in sound.items() if name.startswith("contents/")]
    text = sound["repositories/0.json"].decode()
    described = json.loads(text)

    def changed(change) -> bytes:
        copy = json.loads(text)
        change(copy)
        return json.dumps(copy).encode()

    def entry(copy, **fields) -> None:
        next(e for f in copy["folders"] for e in f["entries"] if e["name"] == "w.bin").update(
            fields
        )

    wrong = [
        lambda c: entry(c, name="../w.bin"),
        lambda c: entry(c, name="other.bin"),
        lambda c: entry(c, sha256=hashlib.sha256(b"").hexdigest()),
        lambda c: entry(c, large=False),
        lambda c: c["commits"][0].update(title="other"),
        lambda c: c["commits"].pop(0),
        lambda c: c["folders"].pop(0),
        lambda c: c["references"][0].update(oid="0" * 40),
        lambda c: c["references"][0].update(name="refs/pr/1"),
        lambda c: c["references"][0].update(name="refs/heads/a..b"),
        lambda c: c.update(references=[r for r in c["references"] if "main" not in r["name"]]),
        lambda c: c.update(name="a/b"),
        lambda c: c.update(kind="space"),
        lambda c: c.update(extra=1),
    ]
    for number, change in enumerate(wrong):
        with pytest.raises(HubError) as refused:
            receive(away, signed([changed(change)], contents))
        assert refused.value.exit_code in (2, 3), number
    with pytest.raises(BadBundleError, match="other contents"):
        receive(away, signed([text.encode()], contents, drop=1))
    assert not away.api().repo_exists("desk/a")
    assert receive(away, signed([text.encode()], contents)).repositories == ("desk/a",)
    assert described["namespace"] == "desk"


def test_a_hub_sends_no_bytes_that_have_changed(home, tmp_path) -> None:
    contents = contents_of(home.hub.settings)
    for name in contents.names("xorbs"):
        flip(contents, name)
    with pytest.raises(HubError, match="damaged"):
        export(home.hub, [MODEL], tmp_path / "bundle", key=KEY)
    with pytest.raises(NotFoundError):
        export(home.hub, [RepositoryName(Kind.MODEL, "desk", "b")], tmp_path / "bundle", key=KEY)
    assert not [path for path in tmp_path.iterdir() if "bundle" in path.name]
    (tmp_path / "bundle").touch()
    with pytest.raises(AlreadyExistsError):
        export(home.hub, [MODEL], tmp_path / "bundle", key=KEY)


def test_the_commands(home, away, tmp_path, command, at) -> None:
    key, bundle = str(tmp_path / "key"), str(tmp_path / "b.tar")
    assert command("key", key).returncode == 0
    assert command("key", key).returncode == 5
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    at(home)
    names = ["desk/a", "datasets/alice/set"]
    made = command("export", *names, "--to", bundle, "--key", key, "--format", "json")
    assert json.loads(made.stdout)["repositories"] == "2"
    assert command("export", "a/b/c/d", "--to", bundle, "--key", key).returncode == 2
    assert command("export", "desk/a", "--to", key, "--key", f"{key}.pub").returncode == 2
    at(away)
    refused = command("import", bundle, "--trust", key)
    assert (refused.returncode, "no public" in refused.stderr) == (2, True)
    command("key", f"{key}2")
    assert command("import", bundle, "--trust", f"{key}2.pub").returncode == 3
    done = command("import", bundle, "--trust", f"{key}.pub", "--format", "quiet")
    assert done.stdout == "desk/a\nalice/set\n", done.stderr
