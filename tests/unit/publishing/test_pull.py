"""What is pulled is what was trained, or nothing is there."""

import errno
import os

import pytest
from huggingface_hub import HfApi

from fin_qlora.errors import (
    DataError,
    DiskFullError,
    EnvironmentFault,
    HubNotFoundError,
    UsageError,
)
from fin_qlora.evidence import verify_files
from fin_qlora.publishing import pull, push, push_base


@pytest.fixture
def published(hub, base, adapter, name):
    push_base(base, "demo/base")
    return push(adapter, name, base="demo/base", tag="v1")


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("how", ["main", "tag", "commit", "at"])
def test_every_way_to_name_a_revision(published, tmp_path, how):
    revision = {"main": None, "tag": "v1", "commit": published.commit, "at": None}[how]
    reference = f"{published.repo_id}@v1" if how == "at" else published.repo_id
    folder = pull(reference, tmp_path / "out", revision=revision)
    assert verify_files(folder) == []
    assert not (folder / ".cache").exists()


def test_an_older_pull_is_replaced_whole(published, tmp_path):
    folder = pull(published.repo_id, tmp_path / "out")
    (folder / "leftover").write_text("old")
    assert pull(published.repo_id, tmp_path / "out") == folder
    assert not (folder / "leftover").exists()


def test_a_folder_of_something_else_is_replaced_only_when_told(published, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("years")
    with pytest.raises(UsageError, match="--force"):
        pull(published.repo_id, tmp_path / "thesis")
    assert left_in(tmp_path / "thesis") == ["chapter"]
    folder = pull(published.repo_id, tmp_path / "thesis", force=True)
    assert verify_files(folder) == []


def test_a_file_that_was_changed_on_the_hub_is_found_and_nothing_is_left(published, tmp_path):
    HfApi(endpoint=os.environ["HF_ENDPOINT"]).upload_file(
        path_or_fileobj=b"other",
        path_in_repo="adapter_model.safetensors",
        repo_id=published.repo_id,
    )
    (tmp_path / "place").mkdir()
    with pytest.raises(DataError, match=r"adapter_model\.safetensors' has changed"):
        pull(published.repo_id, tmp_path / "place" / "out")
    assert left_in(tmp_path / "place") == []


def test_a_repository_without_evidence_is_refused(published, tmp_path):
    with pytest.raises(DataError, match=r"no manifest\.json.*hf download"):
        pull("demo/base", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_revision_leaves_the_older_folder(published, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text("kept")
    with pytest.raises(HubNotFoundError, match="revision 'v9'"):
        pull(published.repo_id, tmp_path / "out", revision="v9")
    assert (tmp_path / "out" / "manifest.json").read_text() == "kept"


def test_a_full_disk_leaves_nothing(published, tmp_path, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(HfApi, "snapshot_download", full)
    (tmp_path / "place").mkdir()
    with pytest.raises(DiskFullError, match="disk is full"):
        pull(published.repo_id, tmp_path / "place" / "out")
    assert left_in(tmp_path / "place") == []


def test_a_folder_that_may_not_be_written_is_not_the_hubs_fault(published, tmp_path, monkeypatch):
    def refused(*_arguments, **_options):
        raise PermissionError(errno.EACCES, "Permission denied", "/there")

    monkeypatch.setattr(HfApi, "snapshot_download", refused)
    with pytest.raises(EnvironmentFault, match="'/there' could not be read or written"):
        pull(published.repo_id, tmp_path / "out")
