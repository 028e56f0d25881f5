"""The unmodified client, with Xet at hand and no switch set, takes this hub for the real one."""

import importlib.util
import io
import re
from pathlib import Path
from typing import get_args
from urllib.parse import quote

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete
from huggingface_hub.errors import (
    BadRequestError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ExpandDatasetProperty_T, ExpandModelProperty_T

from fin_qlora_hub.routes import references, trees


def fetch(api, repository, path, **options) -> bytes:
    cache = options.pop("cache_dir")
    file = api.hf_hub_download(repository, path, cache_dir=cache, **options)
    return Path(file).read_bytes()


def add(path: str, content: bytes = b"x") -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


def test_xet_is_installed() -> None:
    assert importlib.util.find_spec("hf_xet") is not None


def test_who_am_i(api, running) -> None:
    me = api.whoami()
    assert me["name"] == "alice"
    assert me["auth"]["accessToken"]["displayName"] == "test"
    assert [(org["name"], org["roleInOrg"]) for org in me["orgs"]] == [("desk", "admin")]
    assert running.api("carol").whoami()["orgs"] == []


def test_create_is_private_and_names_itself(api, new_name) -> None:
    name = new_name()
    made = api.create_repo(name)
    assert (made.repo_id, made.repo_type, made.endpoint) == (name, "model", api.endpoint)
    info = api.model_info(name)
    assert info.private
    assert [file.rfilename for file in info.siblings] == [".gitattributes"]
    assert api.repo_exists(name)


def test_create_again(api, repository) -> None:
    assert api.create_repo(repository, exist_ok=True).repo_id == repository
    with pytest.raises(HfHubHTTPError, match="already created") as refused:
        api.create_repo(repository.upper().replace("ALICE", "alice"))
    assert refused.value.response.status_code == 409
    assert refused.value.response.json()["url"].startswith(api.endpoint)


def test_delete(api, repository) -> None:
    api.delete_repo(repository)
    assert not api.repo_exists(repository)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(repository)
    api.delete_repo(repository, missing_ok=True)
    api.create_repo(repository)
    assert api.list_repo_files(repository) == [".gitattributes"]


@pytest.mark.parametrize("source", ["bytes", "path", "object"])
def test_upload_and_download_one_file(api, repository, tmp_path, source) -> None:
    content = bytes(range(256)) * 100
    (tmp_path / "file").write_bytes(content)
    given = {
        "bytes": content,
        "path": tmp_path / "file",
        "object": io.BytesIO(content),
    }[source]
    commit = api.upload_file(
        path_or_fileobj=given, path_in_repo="adapter_model.safetensors", repo_id=repository
    )
    assert commit.repo_url.repo_id == repository
    assert api.model_info(repository).sha == commit.oid
    found = fetch(api, repository, "adapter_model.safetensors", cache_dir=tmp_path / "cache")
    assert found == content


def test_upload_folder_and_snapshot(api, repository, tmp_path) -> None:
    files = {
        "README.md": b"---\nlicense: mit\n---\n",
        "adapter_model.safetensors": b"\0" * 5000,
        "empty.txt": b"",
        "eval/a b#%&.json": b"{}",
        "eval/tief/Grüße.txt": b"hallo",
    }
    for path, content in files.items():
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(content)
    first = api.upload_folder(folder_path=tmp_path / "in", repo_id=repository)
    folder = Path(api.snapshot_download(repository, cache_dir=tmp_path / "cache"))
    assert folder.name == first.oid
    for path, content in files.items():
        assert (folder / path).read_bytes() == content
    assert set(api.list_repo_files(repository)) == {".gitattributes", *files}

    again = api.upload_folder(folder_path=tmp_path / "in", repo_id=repository)
    assert again.oid == first.oid
    assert len(api.list_repo_commits(repository)) == 2


def test_weights_are_presented_as_large_files(api, repository, running) -> None:
    commit = api.create_commit(
        repository,
        [add("w.safetensors", b"weights"), add("small.txt"), add("big.txt", b"0" * 10_485_761)],
        commit_message="files",
    )
    files = {
        file.rfilename: file for file in api.model_info(repository, files_metadata=True).siblings
    }
    assert files["w.safetensors"].lfs.size == 7
    assert files["big.txt"].lfs is not None
    assert files["small.txt"].lfs is None
    info = {entry.path: entry for entry in api.list_repo_tree(repository)}["w.safetensors"]
    assert info.lfs.sha256 == files["w.safetensors"].lfs.sha256
    assert info.xet_hash is not None
    with running.http() as http:
        head = http.head(f"/{repository}/resolve/main/w.safetensors")
        assert head.headers["etag"] == head.headers["x-linked-etag"] == f'"{info.lfs.sha256}"'
        assert head.headers["x-linked-size"] == head.headers["content-length"] == "7"
        assert head.headers["x-repo-commit"] == commit.oid
        assert head.headers["x-xet-hash"] == info.xet_hash
        small = http.head(f"/{repository}/resolve/main/small.txt")
        assert small.headers["etag"] == f'"{files["small.txt"].blob_id}"'
        assert "x-linked-etag" not in small.headers


def test_tree_and_paths(api, repository) -> None:
    first = api.create_commit(
        repository, [add("a/b/c.txt"), add("a/d.txt"), add("z")], commit_message="one"
    )
    second = api.create_commit(repository, [add("a/d.txt", b"new")], commit_message="two")
    top = {entry.path for entry in api.list_repo_tree(repository)}
    assert top == {".gitattributes", "a", "z"}
    assert [e.path for e in api.list_repo_tree(repository, "a/b")] == ["a/b/c.txt"]
    entries = {e.path: e for e in api.list_repo_tree(repository, recursive=True, expand=True)}
    assert set(entries) == {".gitattributes", "a", "a/b", "a/b/c.txt", "a/d.txt", "z"}
    assert entries["z"].last_commit.oid == first.oid
    assert entries["a/d.txt"].last_commit.oid == entries["a"].last_commit.oid == second.oid
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree(repository, "missing"))
    found = api.get_paths_info(repository, ["a", "z", "missing"], expand=True)
    assert [entry.path for entry in found] == ["a", "z"]
    assert api.file_exists(repository, "z")
    assert not api.file_exists(repository, "missing")


def test_long_listings_come_in_pages(api, repository, monkeypatch) -> None:
    monkeypatch.setattr(trees, "PAGE", 10)
    monkeypatch.setattr(trees, "EXPANDED_PAGE", 4)
    paths = [f"f/{number:04}" for number in range(21)]
    api.create_commit(repository, [add(path) for path in paths], commit_message="many")
    assert api.list_repo_files(repository) == [".gitattributes", *paths]
    expanded = api.list_repo_tree(repository, "f", expand=True)
    assert [entry.path for entry in expanded] == paths


def test_delete_and_copy(api, repository, tmp_path) -> None:
    api.create_commit(
        repository,
        [add("w.safetensors", b"w"), add("d/a"), add("d/b"), add("e/a", b"text"), add("f")],
        commit_message="add",
    )
    api.create_commit(
        repository,
        [
            CommitOperationDelete("d/"),
            CommitOperationDelete("f"),
            CommitOperationCopy("w.safetensors", "v.safetensors"),
            CommitOperationCopy("e/a", "e/b"),
        ],
        commit_message="change",
    )
    assert set(api.list_repo_files(repository)) == {
        ".gitattributes",
        *["e/a", "e/b", "v.safetensors", "w.safetensors"],
    }
    assert fetch(api, repository, "v.safetensors", cache_dir=tmp_path) == b"w"
    assert fetch(api, repository, "e/b", cache_dir=tmp_path) == b"text"
    api.delete_file("e/a", repository)
    with pytest.raises(RemoteEntryNotFoundError, match="doesn't exist"):
        api.delete_file("e/a", repository, commit_message="once more")
    api.delete_folder("e", repository)
    assert "e/b" not in api.list_repo_files(repository)


def test_branches_and_tags(api, repository, tmp_path) -> None:
    first = api.upload_file(path_or_fileobj=b"1", path_in_repo="f", repo_id=repository)
    api.create_branch(repository, branch="feature/x")
    api.create_tag(repository, tag="v1", tag_message="first")
    second = api.upload_file(
        path_or_fileobj=b"2", path_in_repo="f", repo_id=repository, revision="feature/x"
    )
    assert second.oid != first.oid
    revisions = ["main", "v1", "feature/x", "refs/heads/feature/x", second.oid, first.oid[:7]]
    found = [
        fetch(api, repository, "f", revision=revision, cache_dir=tmp_path) for revision in revisions
    ]
    assert found == [b"1", b"1", b"2", b"2", b"2", b"1"]
    assert api.model_info(repository, revision="feature/x").sha == second.oid
    refs = api.list_repo_refs(repository, include_pull_requests=True)
    assert {branch.name: branch.target_commit for branch in refs.branches} == {
        "main": first.oid,
        "feature/x": second.oid,
    }
    assert [(tag.name, tag.ref) for tag in refs.tags] == [("v1", "refs/tags/v1")]

    api.create_branch(repository, branch="feature/x", exist_ok=True)
    with pytest.raises(HfHubHTTPError, match="refs/heads/feature/x already exists"):
        api.create_branch(repository, branch="feature/x")
    with pytest.raises(HfHubHTTPError, match="refs/tags/v1 already exists"):
        api.create_tag(repository, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.create_tag(repository, tag="v2", revision="missing")
    with pytest.raises(BadRequestError):
        api.create_branch(repository, branch="f" * 40)
    for name in ("feature", "feature/x/y"):  # git keeps a branch as a file
        with pytest.raises(BadRequestError, match="cannot stand beside refs/heads/feature/x"):
            api.create_branch(repository, branch=name)
    api.create_branch(repository, branch="feature-x")
    api.delete_branch(repository, branch="feature-x")
    with pytest.raises(HfHubHTTPError, match="Cannot delete refs/heads/main"):
        api.delete_branch(repository, branch="main")
    with pytest.raises(RevisionNotFoundError):
        api.upload_file(path_or_fileobj=b"", path_in_repo="g", repo_id=repository, revision="v1")

    api.delete_branch(repository, branch="feature/x")
    api.delete_tag(repository, tag="v1")
    assert not api.revision_exists(repository, "feature/x")
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag(repository, tag="v1")
    assert fetch(api, repository, "f", revision=second.oid, cache_dir=tmp_path) == b"2"


def test_history(api, repository, monkeypatch) -> None:
    monkeypatch.setattr(references, "MAX_COMMITS", 4)
    for number in range(9):
        api.upload_file(
            path_or_fileobj=str(number).encode(),
            path_in_repo="f",
            repo_id=repository,
            commit_message=f"commit {number}",
            commit_description="why",
        )
    commits = api.list_repo_commits(repository, formatted=True)
    titles = [commit.title for commit in commits]
    assert titles == [*(f"commit {n}" for n in reversed(range(9))), "initial commit"]
    assert commits[0].authors == ["alice"]
    assert commits[0].message == "why"
    assert len({commit.commit_id for commit in commits}) == 10


def test_a_stale_parent_is_a_conflict_and_a_repeated_commit_is_not(api, repository) -> None:
    base = api.model_info(repository).sha
    options = {"commit_message": "change", "parent_commit": base}
    first = api.create_commit(repository, [add("f", b"1")], **options)
    again = api.create_commit(repository, [add("f", b"1")], **options)
    assert again.oid == first.oid
    with pytest.raises(HfHubHTTPError, match="The branch was updated since") as refused:
        api.create_commit(repository, [add("f", b"2")], **options)
    assert refused.value.response.status_code == 412
    assert "A commit has happened since. Please refresh and try again." in str(refused.value)
    assert api.model_info(repository).sha == first.oid


def test_a_commit_without_effect_makes_none(api, repository, running) -> None:
    head = api.upload_file(path_or_fileobj=b"1", path_in_repo="f", repo_id=repository).oid
    body = b'{"key":"header","value":{"summary":"s"}}\n' + (
        b'{"key":"file","value":{"path":"f","content":"MQ==","encoding":"base64"}}\n'
    )
    with running.http() as http:
        answer = http.post(f"/api/models/{repository}/commit/main", content=body)
    assert answer.json()["commitOid"] == head


def test_ignore_rules_are_followed(api, repository, tmp_path) -> None:
    for path in (".gitignore", "keep.txt", "run.log"):
        (tmp_path / path).write_text("*.log\n")
    api.upload_folder(folder_path=tmp_path, repo_id=repository)
    assert set(api.list_repo_files(repository)) == {".gitattributes", ".gitignore", "keep.txt"}


def test_visibility(api, repository, running) -> None:
    carol = running.api("carol")
    assert not carol.repo_exists(repository)
    api.update_repo_settings(repository, visibility="public")
    assert not carol.model_info(repository).private
    with pytest.raises(HfHubHTTPError, match="may read"):
        carol.upload_file(path_or_fileobj=b"", path_in_repo="f", repo_id=repository)
    api.update_repo_settings(repository, private=True)
    assert not carol.repo_exists(repository)


def test_lists_and_filters(api, new_name, running) -> None:
    names = [new_name("desk") for _ in range(4)]
    card = "---\nlicense: mit\ntags: [blue]\nbase_model: org/base\n---\n"
    for name in names:
        api.create_repo(name)
    api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=names[1])
    api.upload_file(
        path_or_fileobj=b'{"base_model_name_or_path": "org/base", "peft_type": "LORA"}',
        path_in_repo="adapter_config.json",
        repo_id=names[2],
    )

    def listed(**options) -> list[str]:
        return [model.id for model in api.list_models(**options) if model.id in names]

    assert listed(author="desk") == [names[2], names[1], names[3], names[0]]
    assert set(listed()) == set(names)
    assert listed(filter="blue") == [names[1]]
    assert listed(filter=["license:mit", "blue"]) == [names[1]]
    assert listed(filter="base_model:adapter:org/base") == [names[2]]
    assert set(listed(filter="base_model:org/base")) == set(names[1:3])
    assert listed(search=names[3].upper()) == [names[3]]
    assert listed(author="nobody") == []
    assert listed(author="desk", sort="created_at", limit=2) == [names[3], names[2]]
    assert running.api("carol").list_models(author="desk") is not None
    assert list(running.api("carol").list_models(author="desk")) == []
    assert {m.id for m in running.api("bob").list_models(author="desk")} >= set(names)
    expanded = next(iter(api.list_models(search=names[1], expand=["tags", "sha"])))
    assert expanded.sha == api.model_info(names[1]).sha
    assert expanded.author is None

    with running.http() as http:
        seen, url = [], "/api/models?author=desk&limit=2&sort=createdAt"
        while url:
            answer = http.get(url)
            seen += [model["id"] for model in answer.json()]
            url = answer.links.get("next", {}).get("url")
    assert [name for name in seen if name in names] == names[::-1]
    assert len(seen) == len(set(seen))


def test_information_and_its_parts(api, repository) -> None:
    card = "---\nlicense: mit\nlibrary_name: peft\npipeline_tag: text-classification\n---\n"
    api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repository)
    info = api.model_info(repository)
    assert (info.author, info.library_name) == ("alice", "peft")
    assert info.pipeline_tag == "text-classification"
    assert info.card_data.license == "mit"
    assert info.gated is False
    assert info.used_storage is None or info.used_storage > 0
    part = api.model_info(repository, expand=["cardData", "usedStorage"])
    assert part.card_data.license == "mit"
    assert part.used_storage > len(card)
    assert part.siblings is None


def test_a_bad_card_is_refused_before_anything_moves(api, repository) -> None:
    with pytest.raises(ValueError, match="not valid YAML"):
        api.upload_file(
            path_or_fileobj=b"---\na: [\n---\n", path_in_repo="README.md", repo_id=repository
        )
    assert api.list_repo_files(repository) == [".gitattributes"]


@pytest.mark.parametrize(
    ("card", "fault"),
    [
        ("\n---\nmodel-index: mine\n---\n", '"model-index" must be a list'),
        ("---\nlicense: free\n---\n", '"license" must be one of'),
        ("---\nlicense: [mit, 3]\n---\n", '"license" must be one of'),
    ],
)
def test_what_cards_may_say(api, repository, card, fault) -> None:
    with pytest.raises(ValueError, match=fault):
        api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repository)
    for licence in ("Apache-2.0", "[mit, bank-internal]", "llama9", "other"):
        good = f"---\nlicense: {licence}\n---\n"
        api.upload_file(path_or_fileobj=good.encode(), path_in_repo="README.md", repo_id=repository)


def test_lists_say_as_much_as_those_of_the_public_hub(api, new_name, running) -> None:
    name = new_name()
    api.create_repo(name, repo_type="dataset")
    card = (
        "---\npretty_name: news\nlanguage: [en, fr]\ntask_categories: [token-classification]\n"
        "size_categories: 1K<n<10K\nmultilinguality: multilingual\n---\n"
    )
    api.upload_file(
        path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=name, repo_type="dataset"
    )
    wanted = {"language": ("en", "fr"), "task_categories": "token-classification"}
    wanted |= {"size_categories": "1K<n<10K", "multilinguality": "multilingual"}
    (found,) = [one for one in api.list_datasets(**wanted) if one.id == name]
    assert (found.author, found.card_data) == ("alice", None)
    assert name not in [one.id for one in api.list_datasets(language="de")]
    (found,) = [one for one in api.list_datasets(full=True) if one.id == name]
    assert found.card_data.pretty_name == "news"

    model = new_name()
    api.create_repo(model)
    card = "---\nwidget:\n- text: Profit rose.\nlanguage: en\n---\n"
    api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=model)
    api.upload_file(path_or_fileobj=b"GGUF", path_in_repo="a.gguf", repo_id=model)
    assert model in [one.id for one in api.list_models(apps="ollama")]
    assert model not in [one.id for one in api.list_models(apps=["ollama", "vllm"])]
    (listed,) = [one for one in api.list_models(search=model) if one.id == model]
    assert (listed.trending_score, "language:en" in listed.tags) == (0, False)
    info = api.model_info(model, securityStatus=True)
    assert info.widget_data == [{"text": "Profit rose."}]
    assert info.security_repo_status == {"scansDone": False, "filesWithIssues": []}
    assert api.model_info(model).security_repo_status is None


@pytest.mark.parametrize(
    ("kind", "known"), [("model", ExpandModelProperty_T), ("dataset", ExpandDatasetProperty_T)]
)
def test_fields_that_can_be_asked_for_are_those_that_clients_know(
    api, new_name, kind, known
) -> None:
    name = new_name()
    api.create_repo(name, repo_type=kind)
    fields = list(get_args(known))
    assert api.repo_info(name, repo_type=kind, expand=fields).id == name
    with pytest.raises(HfHubHTTPError) as refused:
        api.repo_info(name, repo_type=kind, expand=["gist"])
    assert refused.value.response.status_code == 400
    named = refused.value.response.json()["error"].partition("expected one of ")[2]
    assert set(re.findall(r'"(.+?)"', named)) - {"xetEnabled"} == set(fields)


def test_data_set_repositories(api, new_name, tmp_path) -> None:
    name = new_name()
    made = api.create_repo(name, repo_type="dataset")
    assert made.repo_type == "dataset"
    commit = api.upload_file(
        path_or_fileobj=b"a,b\n", path_in_repo="t.csv", repo_id=name, repo_type="dataset"
    )
    assert commit.repo_url.repo_type == "dataset"
    assert fetch(api, name, "t.csv", repo_type="dataset", cache_dir=tmp_path) == b"a,b\n"
    assert api.dataset_info(name).sha == commit.oid
    assert name in [dataset.id for dataset in api.list_datasets(author="alice")]
    assert not api.repo_exists(name)
    with pytest.raises(HfHubHTTPError, match="not available on this hub"):
        api.create_repo(new_name(), repo_type="space", space_sdk="static")


def test_downloads_are_counted(api, running, repository, tmp_path) -> None:
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=repository)
    assert fetch(api, repository, "config.json", cache_dir=tmp_path) == b"{}"
    running.hub.downloads.flush()
    assert api.model_info(repository).downloads == 1


def test_nobody_likes_anything(api, repository, running) -> None:
    assert list(api.list_repo_likers(repository)) == []
    assert api.list_liked_repos().total == api.list_liked_repos("bob").total == 0
    api.unlike(repository)
    for name in ("desk/missing", "missing"):
        with pytest.raises(RepositoryNotFoundError):
            api.unlike(name)
    with pytest.raises(RepositoryNotFoundError):
        list(running.api("carol").list_repo_likers(repository))


def test_file_system_and_partial_reads(running, repository, api) -> None:
    from huggingface_hub import HfFileSystem

    content = bytes(range(256)) * 1000
    api.upload_file(path_or_fileobj=content, path_in_repo="w.bin", repo_id=repository)
    files = HfFileSystem(endpoint=running.url, token=running.tokens["alice"])
    with files.open(f"{repository}/w.bin", "rb", block_size=1000) as file:
        file.seek(123_456)
        assert file.read(100) == content[123_456:123_556]
    assert f"{repository}/w.bin" in files.ls(repository, detail=False)


def test_names_that_mean_something_in_an_address_come_back(running, api, repository, tmp_path):
    """In an address, a header or a pattern: a client and its cache see the names as they are."""
    awful = "sub/to?/awful?filename%you:should,never.give"
    files = {awful: b"small", 'x*/a"b|c<d>; e#f&g=%2F.bin': b"large" * 300_000, "12:30.log": b"t"}
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    api.create_commit(repository, operations, commit_message="awful")
    assert files.keys() <= set(api.list_repo_files(repository))
    folder = Path(api.snapshot_download(repository, cache_dir=tmp_path / "all"))
    for path, data in files.items():
        fetched = api.hf_hub_download(repository, path, cache_dir=tmp_path / "one")
        assert Path(fetched).read_bytes() == (folder / path).read_bytes() == data
    with running.http() as http:
        listed = http.get(
            f"/api/models/{repository}/tree/main/{quote('sub/to?')}", params={"limit": 1}
        )
        assert [item["path"] for item in listed.json()] == [awful]
        assert http.get(f"/{repository}/resolve/main/sub/to?/awful").status_code == 404
    api.delete_file(awful, repository)
    assert not api.file_exists(repository, awful)
