"""The stock client, with hf_xet and without, sends and fetches large files."""

import json
import random
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy
from sqlalchemy import func, select

from fin_qlora_hub.metadata.tables import Xorb

FETCH = """
import sys
from huggingface_hub import hf_hub_download
print(hf_hub_download(sys.argv[1], sys.argv[2]))
"""
PUSH = """
import sys
from huggingface_hub import upload_file
upload_file(path_or_fileobj=sys.argv[3], path_in_repo=sys.argv[2], repo_id=sys.argv[1])
"""
FOLDER = """
import sys
from huggingface_hub import snapshot_download, upload_folder
name, source = sys.argv[1:]
upload_folder(folder_path=source, repo_id=name)
print(snapshot_download(name))
"""


def some_bytes(size: int, *, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def shell(running, tmp_path, run_python):
    """Run a program with the stock client in a home of its own: nothing is cached."""

    def run(program: str, *arguments: object, home: str = "home", **environment: str) -> str:
        folder = tmp_path / home
        folder.mkdir(exist_ok=True)
        env = {**running.environment(folder), **environment}
        done = run_python("-c", program, *map(str, arguments), env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.mark.parametrize("up", ["", "1"])
@pytest.mark.parametrize("down", ["", "1"])
def test_a_file_with_xet_and_without(running, repository, shell, tmp_path, up, down) -> None:
    data = some_bytes(3_000_000, seed=int(up + "0" + down + "0"))
    (tmp_path / "w").write_bytes(data)
    shell(
        *(PUSH, repository, "w.safetensors", tmp_path / "w"),
        home="up",
        HF_HUB_DISABLE_XET=up,
    )
    sha256 = running.api().get_paths_info(repository, ["w.safetensors"])[0].lfs.sha256
    assert running.hub.blobs.holds(sha256) == (up == "1")
    found = shell(FETCH, repository, "w.safetensors", home="down", HF_HUB_DISABLE_XET=down)
    assert Path(found).read_bytes() == data


@pytest.mark.parametrize("off", ["", "1"])
def test_a_folder(repository, shell, tmp_path, off) -> None:
    files = {
        "adapter_model.safetensors": some_bytes(2_500_000, seed=4),
        "sub/tiny.bin": b"\0",
        "empty.bin": b"",
        "config.json": b"{}",
        "long.txt": b"0123456789" * 1_100_000,
    }
    for path, data in files.items():
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(data)
    folder = Path(shell(FOLDER, repository, tmp_path / "in", HF_HUB_DISABLE_XET=off))
    for path, data in files.items():
        assert (folder / path).read_bytes() == data


def stored_bytes(running) -> int:
    with running.hub.database.reading() as session:
        return session.scalar(select(func.sum(Xorb.size))) or 0


def test_a_small_edit_sends_little_from_a_cold_client(running, repository, shell, tmp_path) -> None:
    data = some_bytes(20_000_000, seed=5)
    (tmp_path / "w").write_bytes(data)
    shell(PUSH, repository, "w.safetensors", tmp_path / "w", home="first")
    before = stored_bytes(running)
    assert before > len(data)
    edited = data[:7_000_000] + b"a few bytes more" + data[7_000_000:]
    (tmp_path / "w").write_bytes(edited)
    shell(PUSH, repository, "w.safetensors", tmp_path / "w", home="second")
    assert 0 < stored_bytes(running) - before < len(data) / 50
    assert Path(shell(FETCH, repository, "w.safetensors")).read_bytes() == edited


def test_an_edit_in_another_namespace_sends_all(running, shared, repository, shell, tmp_path):
    data = some_bytes(3_000_000, seed=6)
    (tmp_path / "w").write_bytes(data)
    # the same client, whose cache knows the chunks: they must not be taken for sent
    shell(PUSH, repository, "w.safetensors", tmp_path / "w")
    shell(PUSH, shared, "w.safetensors", tmp_path / "w")
    found = shell(FETCH, shared, "w.safetensors", home="other")
    assert Path(found).read_bytes() == data


def test_unchanged_files_are_not_committed_again(running, repository) -> None:
    api = running.api()
    data = some_bytes(1_500_000, seed=7)
    options = {"path_or_fileobj": data, "path_in_repo": "w.bin", "repo_id": repository}
    first = api.upload_file(**options)
    assert api.upload_file(**options).oid == first.oid
    api.create_commit(
        repository,
        [CommitOperationCopy("w.bin", "v.bin"), CommitOperationAdd("a.txt", b"a")],
        commit_message="copy",
    )
    files = {e.path: e for e in api.list_repo_tree(repository)}
    assert files["v.bin"].lfs.sha256 == files["w.bin"].lfs.sha256
    assert files["v.bin"].xet_hash == files["w.bin"].xet_hash is not None


def test_parts_of_a_file_in_chunks(running, repository) -> None:
    from huggingface_hub import HfFileSystem

    data = some_bytes(3_000_000, seed=8)
    running.api().upload_file(path_or_fileobj=data, path_in_repo="w.bin", repo_id=repository)
    files = HfFileSystem(endpoint=running.url, token=running.tokens["alice"])
    with files.open(f"{repository}/w.bin", "rb", block_size=100_000) as file:
        file.seek(1_234_567)
        assert file.read(300_000) == data[1_234_567:1_534_567]


def test_a_data_set_in_chunks(running, new_name, tmp_path) -> None:
    name, data = new_name(), some_bytes(1_200_000, seed=9)
    api = running.api()
    api.create_repo(name, repo_type="dataset")
    api.upload_file(
        path_or_fileobj=data, path_in_repo="t.parquet", repo_id=name, repo_type="dataset"
    )
    path = api.hf_hub_download(name, "t.parquet", repo_type="dataset", cache_dir=tmp_path)
    assert Path(path).read_bytes() == data


def test_a_refusal_of_the_chunk_store_reaches_the_user(
    running, repository, shell, tmp_path, monkeypatch
) -> None:
    from fin_qlora_hub.errors import BadRequestError
    from fin_qlora_hub.xet import registering

    def refuse(*_arguments, **_named):
        raise BadRequestError("a reason that a person should see")

    monkeypatch.setattr(registering, "_verified", refuse)
    with pytest.raises(Exception, match="a reason that a person should see"):
        running.api().upload_file(
            path_or_fileobj=some_bytes(1_100_000, seed=10), path_in_repo="w.bin", repo_id=repository
        )
    assert json.dumps(running.api().list_repo_files(repository)) == '[".gitattributes"]'
