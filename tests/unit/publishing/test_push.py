"""An adapter is published with its evidence, on a base that the hub has, or not at all."""

import hashlib
import json
import os
import shutil
import urllib.request
from pathlib import Path

import pytest
import yaml
from adapter_folder import base_identity, write_adapter, write_base
from huggingface_hub import HfApi, parse_eval_result_entries

from fin_qlora.errors import (
    AdapterMismatchError,
    DataError,
    HubNotFoundError,
    HubRefusedError,
    HubUnreachableError,
    MissingFileError,
    UsageError,
)
from fin_qlora.evidence import read_manifest, verify_files
from fin_qlora.publishing import pull, push, push_base


@pytest.fixture
def published_base(hub, base):
    return push_base(base, "demo/base")


def files_on_hub(repo_id):
    return sorted(HfApi(endpoint=os.environ["HF_ENDPOINT"]).list_repo_files(repo_id))


def test_a_base_is_published_once(hub, base):
    first = push_base(base, "demo/base")
    assert first.url == f"{hub.url}/demo/base"
    assert push_base(base, "demo/base") == first


def test_an_adapter_is_published_whole_and_private_and_once(published_base, adapter, name):
    done = push(adapter, name, base="demo/base")
    assert push(adapter, name, base="demo/base").commit == done.commit
    info = HfApi(endpoint=os.environ["HF_ENDPOINT"]).model_info(name)
    assert info.private is True
    assert set(files_on_hub(name)) - {".gitattributes"} == {
        "README.md",
        "manifest.json",
        *read_manifest(adapter)["files"],
    }


def test_scores_on_published_data_are_left_for_leaderboards(published_base, base, name, tmp_path):
    identity = base_identity(base, name="fin-qlora/local")
    folder = write_adapter(tmp_path / "real", base=identity, task="tfns")
    done = push(folder, name, base="demo/base")
    api = HfApi(endpoint=os.environ["HF_ENDPOINT"])
    path = api.hf_hub_download(name, ".eval_results/tfns.yaml", local_dir=tmp_path / "stock")
    (entry,) = parse_eval_result_entries(yaml.safe_load(Path(path).read_text("utf-8")))
    assert (entry.dataset_id, entry.value) == ("zeroshot/twitter-financial-news-sentiment", 0.91)
    shown = urllib.request.urlopen(
        urllib.request.Request(
            entry.source_url.replace("/blob/", "/resolve/"),
            headers={"Authorization": f"Bearer {os.environ['HF_TOKEN']}"},
        )
    )
    content = (folder / "eval" / "tfns-adapter.parquet").read_bytes()
    assert shown.read() == content
    assert hashlib.sha256(content).hexdigest() in entry.notes
    assert push(folder, name, base="demo/base").commit == done.commit
    # what a stock client downloads whole is the adapter as it was
    whole = Path(api.snapshot_download(name, local_dir=tmp_path / "whole"))
    shutil.rmtree(whole / ".cache")  # the client's own
    assert (whole / ".eval_results" / "tfns.yaml").is_file()
    assert verify_files(whole) == []


def test_the_texts_of_the_rows_stay_here_when_told(published_base, adapter, name, tmp_path):
    push(adapter, name, base="demo/base", rows=False)
    assert not [path for path in files_on_hub(name) if path.endswith(".parquet")]
    folder = pull(name, tmp_path / "pulled")
    assert verify_files(folder) == []
    assert "are not published with it" in (folder / "README.md").read_text()
    assert verify_files(adapter) == []


def test_the_base_is_named_by_its_id_and_commit_here(published_base, adapter, name, tmp_path):
    before = read_manifest(adapter)
    push(adapter, name, base="demo/base")
    assert read_manifest(adapter) == before
    folder = pull(name, tmp_path / "pulled")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "demo/base"
    assert config["revision"] == published_base.commit
    assert config["r"] == 4
    expected = before["base"] | {"id": "demo/base", "revision": published_base.commit}
    assert read_manifest(folder)["base"] == expected
    assert json.loads((folder / "fin_qlora.json").read_text())["base"] == expected
    assert "base_model: demo/base" in (folder / "README.md").read_text()


def test_nothing_is_rewritten_for_an_adapter_trained_from_the_hub(
    published_base, base, name, tmp_path
):
    identity = base_identity(base, name="demo/base", revision=published_base.commit)
    adapter = write_adapter(tmp_path / "from-hub", base=identity)
    push(adapter, name)
    pulled = pull(name, tmp_path / "pulled")
    assert (pulled / "manifest.json").read_bytes() == (adapter / "manifest.json").read_bytes()


def test_files_that_are_gone_here_go_there(published_base, adapter, name):
    push(adapter, name, base="demo/base")
    api = HfApi(endpoint=os.environ["HF_ENDPOINT"])
    api.upload_file(path_or_fileobj=b"old", path_in_repo="stale.json", repo_id=name)
    push(adapter, name, base="demo/base")
    assert "stale.json" not in files_on_hub(name)


def test_a_tag_names_the_commit_and_is_never_moved(published_base, adapter, name):
    done = push(adapter, name, base="demo/base", tag="v1")
    assert push(adapter, name, base="demo/base", tag="v1") == done
    api = HfApi(endpoint=os.environ["HF_ENDPOINT"])
    api.upload_file(path_or_fileobj=b"x", path_in_repo="eval/more.json", repo_id=name)
    with pytest.raises(UsageError, match=r"tag 'v1'.*already"):
        push(adapter, name, base="demo/base", tag="v1", message="again")


def test_a_folder_as_base_is_refused_with_the_way_out(hub, adapter, name):
    with pytest.raises(UsageError, match=r"--as-base.*--base ORG/NAME"):
        push(adapter, name)


def test_a_base_that_the_hub_lacks_is_refused_before_anything_is_made(hub, adapter, name):
    with pytest.raises(HubNotFoundError, match=r"demo/nowhere.*--as-base"):
        push(adapter, name, base="demo/nowhere")
    with pytest.raises(HubNotFoundError):
        pull(name, adapter.parent / "none")


def test_another_base_of_that_name_is_refused(hub, adapter, name, tmp_path):
    push_base(write_base(tmp_path / "other", weights=b"other weights"), "demo/other-base")
    with pytest.raises(AdapterMismatchError, match="trained on another base"):
        push(adapter, name, base="demo/other-base")


def test_a_changed_file_is_refused(published_base, adapter, name):
    (adapter / "adapter_model.safetensors").write_bytes(b"edited")
    with pytest.raises(DataError, match=r"adapter_model\.safetensors' has changed"):
        push(adapter, name, base="demo/base")


def test_non_commercial_data_is_published_only_when_told(published_base, base, name, tmp_path):
    identity = base_identity(base, name="demo/base", revision=published_base.commit)
    adapter = write_adapter(tmp_path / "nc", base=identity, noncommercial=True)
    with pytest.raises(DataError, match="--allow-noncommercial"):
        push(adapter, name)
    assert push(adapter, name, allow_noncommercial=True).repo_id == name


def test_an_adapter_of_several_tasks_is_published_whole(published_base, base, name, tmp_path):
    identity = base_identity(base, name="demo/base", revision=published_base.commit)
    adapter = write_adapter(tmp_path / "both", base=identity, further=("xbrl_tag",))
    done = push(adapter, name)
    folder = pull(name, tmp_path / "pulled")
    assert verify_files(folder) == []
    assert "# One adapter for 2 tasks" in (folder / "README.md").read_text()
    info = HfApi(endpoint=os.environ["HF_ENDPOINT"]).model_info(name)
    assert info.sha == done.commit
    assert {"synthetic_ner", "xbrl_tag"} <= set(info.tags)


@pytest.mark.parametrize("missing", ["manifest.json", "fin_qlora.json"])
def test_a_folder_without_evidence_is_refused(hub, adapter, name, missing):
    (adapter / missing).unlink()
    with pytest.raises(MissingFileError, match=missing):
        push(adapter, name, base="demo/base")


def test_a_run_is_not_an_adapter(hub, adapter, name):
    with pytest.raises(MissingFileError, match=r"is a run.*Push '.*/adapter'"):
        push(adapter.parent, name)
    with pytest.raises(MissingFileError, match="does not exist"):
        push(adapter / "nothing", name)


def test_no_hub_is_ever_assumed(monkeypatch, adapter):
    monkeypatch.delenv("HF_ENDPOINT")
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        push(adapter, "demo/x", base="demo/base")


def test_a_wrong_token_is_named_as_the_reason(hub, adapter, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubRefusedError, match="HF_TOKEN"):
        push(adapter, "demo/x", base="demo/base")


def test_another_users_namespace_is_refused(published_base, adapter):
    with pytest.raises(HubRefusedError, match="does not allow"):
        push(adapter, "somebody/else", base="demo/base")


def test_a_hub_that_is_down_is_named(monkeypatch, adapter):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubUnreachableError, match=r"No hub answers at http://127\.0\.0\.1:9"):
        push(adapter, "demo/x", base="demo/base")


@pytest.mark.parametrize("bad", ["adapter", "a/b/c", "./a", "demo/two words"])
def test_a_name_that_no_hub_takes_is_a_usage_error(hub, published_base, adapter, bad):
    with pytest.raises(UsageError, match="ORG/NAME"):
        push(adapter, bad, base="demo/base")


def test_a_base_without_weights_is_refused(hub, tmp_path):
    with pytest.raises(MissingFileError, match="holds no model"):
        push_base(tmp_path, "demo/empty")
    with pytest.raises(MissingFileError, match="does not exist"):
        push_base(tmp_path / "nothing", "demo/empty")
