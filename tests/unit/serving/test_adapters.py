"""Adapters of a real hub: fetched, checked, given or refused."""

import json
import threading
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi

from fin_qlora.errors import (
    AdapterMismatchError,
    DataError,
    HubError,
    HubNotFoundError,
    HubRefusedError,
    HubUnreachableError,
    MissingFileError,
    NotFiniteError,
    RemoteCodeError,
    UsageError,
)
from fin_qlora.serving import adapters
from fin_qlora.serving.adapters import AdapterSource
from fin_qlora.serving.checks import check_sizes

from .conftest import TASK, tensors


@pytest.fixture
def find(policy, served):
    """Ask for an adapter under the policy, or another one, for the served base, or another one."""

    def run(asked, *, under=policy, base=served[0]):
        return AdapterSource(under).find(asked, base=base)

    return run


def test_an_adapter_is_given_with_its_commit_and_all_that_an_engine_loads(find, pushed):
    name, commit = pushed()
    found = find(name)
    assert (found.name, found.commit, found.tasks) == (name, commit, (TASK,))
    assert found.folder.name == commit
    config = json.loads((found.folder / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert (found.folder / "adapter_model.safetensors").is_file()
    assert find(f"{name}@{commit}") == found
    assert find(f"{name}@main") == found


def test_an_older_commit_is_still_to_be_had_by_its_name(find, pushed):
    name, first = pushed()
    _, second = pushed(name=name, weights=tensors(rank=8), r=8)
    assert first != second
    assert find(name).commit == second
    assert find(f"{name}@{first}").commit == first


def test_the_weights_of_a_served_folder_decide(find, pushed, base, tmp_path):
    name, commit = pushed()
    assert find(name, base=str(base)).commit == commit
    (base / "model.safetensors").write_bytes(b"weights of another base")
    with pytest.raises(AdapterMismatchError, match=r"trained on 'demo/base' at .* and the base"):
        find(name, base=str(base))


def test_a_served_folder_is_read_once(policy, pushed, base, monkeypatch):
    (name, commit), (other, _) = pushed(), pushed()
    source, read = AdapterSource(policy), []
    digest = adapters.weights_digest
    monkeypatch.setattr(adapters, "weights_digest", lambda place: read.append(1) or digest(place))
    assert source.find(name, base=str(base)).commit == commit
    (base / "model.safetensors").write_bytes(b"not what the engine has loaded")
    source.find(other, base=str(base))
    assert read == [1]


def test_another_base_or_commit_of_it_is_refused(find, pushed, changed):
    name, _ = pushed()
    with pytest.raises(AdapterMismatchError, match=r"'demo/other' at revision .* is served"):
        find(name, base="demo/other")
    with pytest.raises(AdapterMismatchError, match="at revision aaaa"):
        find(name, under=changed(base_revision="a" * 40))
    with pytest.raises(UsageError, match="FIN_QLORA_SERVE_BASE_REVISION"):
        find(name, under=changed(base_revision=None))


def test_what_the_policy_forbids_is_not_even_asked_for(find, pushed, changed, monkeypatch):
    name, _ = pushed()

    def asked(*_, **__):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(HfApi, "model_info", asked)
    monkeypatch.setattr(adapters, "fetch", asked)
    with pytest.raises(UsageError, match="in no namespace"):
        find(name, under=changed(namespaces=("desk",)))
    with pytest.raises(UsageError, match="names no commit"):
        find(name, under=changed(require_commit=True))
    with pytest.raises(UsageError, match="is not an adapter"):
        find("../elsewhere")


def zero_b(name: str, tensor: torch.Tensor) -> torch.Tensor:
    return tensor * 0 if "lora_B" in name else tensor


@pytest.mark.parametrize(
    ("change", "settings", "error", "says"),
    [
        (zero_b, {}, AdapterMismatchError, "every B matrix is zero"),
        (lambda n, t: t * torch.nan if "q_proj" in n else t, {}, NotFiniteError, "holds NaN"),
        (None, {"use_dora": True}, AdapterMismatchError, "use_dora"),
        (None, {"alpha_pattern": {"q_proj": 64}}, AdapterMismatchError, "alpha_pattern"),
        (None, {"rank_pattern": {"q_proj": 8}}, AdapterMismatchError, "rank_pattern"),
        (None, {"r": 8}, AdapterMismatchError, r"has rank 4, but adapter_config\.json says 8"),
        (lambda n, t: t[0] if "lora_B" in n else t, {}, AdapterMismatchError, "is no matrix"),
        (None, {"modules_to_save": ["lm_head"]}, AdapterMismatchError, "modules_to_save"),
        (None, {"bias": "all"}, AdapterMismatchError, "bias='all'"),
        (None, {"megatron_config": {}, "target_parameters": ["x"]}, AdapterMismatchError, "target"),
        (None, {"megatron_config": {"a": 1}}, RemoteCodeError, "megatron_config"),
        (None, {"peft_type": "IA3"}, AdapterMismatchError, "'IA3'"),
    ],
)
def test_an_adapter_that_cannot_be_served_as_trained_is_refused(
    find, pushed, change, settings, error, says
):
    weights = {name: change(name, t) if change else t for name, t in tensors().items()}
    name, _ = pushed(weights=weights, **settings)
    with pytest.raises(error, match=says):
        find(name)


def test_matrices_that_stand_alone_are_refused(find, pushed):
    alone = {name: t for name, t in tensors().items() if "q_proj.lora_A" not in name}
    with pytest.raises(AdapterMismatchError, match=r"has no '.*q_proj\.lora_A\.weight'"):
        find(pushed(weights=alone)[0])
    odd = {**tensors(), "base_model.model.lm_head.weight": torch.ones(2)}
    with pytest.raises(AdapterMismatchError, match="belongs to no LoRA matrix"):
        find(pushed(weights=odd)[0])


def test_a_rank_that_is_too_large_is_refused(find, pushed, changed):
    name, commit = pushed(weights=tensors(rank=32), r=32)
    with pytest.raises(UsageError, match="rank is 32, and at most 16"):
        find(name)
    assert find(name, under=changed(max_rank=32)).commit == commit


@pytest.mark.parametrize("file", ["adapter_model.bin", "modeling_custom.py", "eval/rows.pkl"])
def test_pickles_and_code_are_refused_and_not_fetched(find, pushed, file, tmp_path):
    name, _ = pushed()
    api = HfApi()
    api.upload_file(repo_id=name, path_or_fileobj=b"code", path_in_repo=file)
    with pytest.raises(DataError, match=f"run code when they are loaded: {file}"):
        find(name)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_what_is_too_large_is_not_fetched(find, pushed, changed, tmp_path):
    name, _ = pushed()
    HfApi().upload_file(repo_id=name, path_or_fileobj=2**20 * b" ", path_in_repo="more.json")
    with pytest.raises(DataError, match="have 1 MB, and at most 1 are fetched"):
        find(name, under=changed(max_megabytes=1))
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"a.safetensors": None}, "does not say how large 'a.safetensors'"),
        ({"a.safetensors": 6, "b.safetensors": 5}, "at most 0 are fetched"),
        ({"manifest.json": 65 * 2**20}, "'manifest.json' has more than 64 MB"),
        ({f"eval/{n}.parquet": 0 for n in range(501)}, "It has 501 files"),
    ],
)
def test_sizes_have_limits(sizes, says):
    check_sizes({"a.safetensors": 5, "b.json": 5}, most=10)
    with pytest.raises(DataError, match=says):
        check_sizes(sizes, most=10)


def test_a_hub_that_understates_sizes_is_noticed_before_a_file_is_read(
    find, pushed, changed, monkeypatch
):
    name, _ = pushed()
    HfApi().upload_file(repo_id=name, path_or_fileobj=2**20 * b" ", path_in_repo="more.json")
    told = HfApi.model_info

    def lying(*arguments, **options):
        info = told(*arguments, **options)
        for file in info.siblings:
            file.size = 1
        return info

    monkeypatch.setattr(HfApi, "model_info", lying)
    monkeypatch.setattr(adapters, "check_evidence", lambda _: pytest.fail("it was read"))
    with pytest.raises(DataError, match="at most 1 are fetched"):
        find(name, under=changed(max_megabytes=1))


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"sha": "b" * 40}, HubRefusedError, "The hub gives 'bbbb"),
        ({"sha": "../../elsewhere"}, HubRefusedError, "The hub gives '../../elsewhere'"),
        ({"sha": None}, HubRefusedError, "The hub gives None"),
        ({"id": "other/name"}, UsageError, "is called 'other/name' on the hub"),
    ],
)
def test_a_hub_that_gives_something_else_is_not_believed(
    find, pushed, monkeypatch, changes, error, says, tmp_path
):
    name, commit = pushed()
    told = HfApi.model_info

    def other(*arguments, **options):
        info = told(*arguments, **options)
        vars(info).update(changes)
        return info

    monkeypatch.setattr(HfApi, "model_info", other)
    with pytest.raises(error, match=says):
        find(f"{name}@{commit}")
    assert not (tmp_path / "cache").exists()


def test_a_branch_that_moves_meanwhile_is_refused(find, pushed, monkeypatch):
    name, first = pushed()
    fetch = adapters.fetch

    def moved(*arguments, **options):
        pushed(name=name, weights=tensors(rank=8), r=8)
        return fetch(*arguments, **options)

    monkeypatch.setattr(adapters, "fetch", moved)
    with pytest.raises(HubError, match=f"was commit {first} and is"):
        find(name)


def test_a_pull_request_is_not_served_until_it_is_merged(find, pushed, tmp_path):
    name, first = pushed()
    api = HfApi()
    proposed = api.upload_file(
        repo_id=name, path_or_fileobj=b"[]", path_in_repo=".eval_results/x.yaml", create_pr=True
    )
    with pytest.raises(UsageError, match="on no branch or tag"):
        find(f"{name}@{proposed.oid}")
    assert find(name).commit == first
    api.create_tag(name, tag="taken", revision=proposed.oid)
    assert find(f"{name}@{proposed.oid}").commit == proposed.oid


def test_another_spelling_of_a_name_is_refused(find, pushed):
    name, _ = pushed()
    assert name == name.lower()
    with pytest.raises(UsageError, match=f"is called '{name}'"):
        find(f"demo/{name.removeprefix('demo/').upper()}")


def test_a_file_that_lies_outside_of_the_cache_is_refused(find, pushed, tmp_path):
    name, _ = pushed()
    weights = find(name).folder / "adapter_model.safetensors"
    (tmp_path / "elsewhere").write_bytes(weights.read_bytes())
    weights.unlink()
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is a link out of the cache"):
        find(name)


def test_a_file_of_another_repository_is_refused(find, pushed):
    name, _ = pushed()
    weights = find(name).folder / "adapter_model.safetensors"
    another = weights.parents[3] / "models--demo--another" / "weights"
    another.parent.mkdir()
    another.write_bytes(weights.read_bytes())
    weights.unlink()
    weights.symlink_to(another)
    with pytest.raises(DataError, match="is a link out of the cache"):
        find(name)


def test_files_that_are_not_those_of_training_are_refused(find, pushed):
    name, _ = pushed()
    HfApi().upload_file(repo_id=name, path_or_fileobj=b"{}", path_in_repo="tokenizer.json")
    find(name)  # the same bytes: nothing has changed
    HfApi().upload_file(repo_id=name, path_or_fileobj=b"{ }", path_in_repo="tokenizer.json")
    with pytest.raises(DataError, match=r"'tokenizer\.json' has changed since training"):
        find(name)


def test_an_adapter_without_evidence_is_refused(find, pushed):
    name, _ = pushed()
    HfApi().delete_file("manifest.json", repo_id=name)
    with pytest.raises(MissingFileError, match=r"has no manifest\.json"):
        find(name)


def test_a_cache_that_was_written_to_is_noticed(find, pushed):
    name, _ = pushed()
    weights = find(name).folder / "adapter_model.safetensors"
    blob = weights.resolve()
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DataError, match=r"'adapter_model\.safetensors' has changed"):
        find(name)


def test_what_the_hub_does_not_have_is_said(find):
    with pytest.raises(HubNotFoundError, match="'demo/none' is not on the hub"):
        find("demo/none")


def test_a_hub_that_is_ill_gives_nothing_new(find, pushed, monkeypatch):
    name, commit = pushed()
    other, _ = pushed()
    found = find(name)
    assert found.away is None

    def ill(*_, **__):
        raise HubError("The hub at http://hub answered 503: ill")

    monkeypatch.setattr(HfApi, "list_repo_refs", ill)
    assert find(f"{name}@{commit}") == found
    assert "answered 503" in find(name).away
    with pytest.raises(HubUnreachableError):
        find(other)


def test_while_the_hub_is_away_the_cache_serves(find, pushed, monkeypatch):
    name, commit = pushed()
    found = find(name)
    away = "http://127.0.0.1:9"
    monkeypatch.setenv("HF_ENDPOINT", away)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", away)
    assert find(name) == found
    assert find(f"{name}@{commit}") == found
    assert find(name).away.startswith("No hub answers at http://127.0.0.1:9")
    with pytest.raises(HubUnreachableError):
        find("demo/never-seen")


def test_two_requests_for_one_adapter_fetch_it_once(policy, served, pushed, monkeypatch):
    name, commit = pushed()
    source, calls, inside = AdapterSource(policy), [], []
    fetch = adapters.fetch

    def watched(reference, **options):
        inside.append(threading.current_thread())
        assert len(inside) == 1, "two threads fetch at once"
        before = {path.name for path in Path(cache).rglob("*.safetensors")}
        result = fetch(reference, **options)
        calls.append(before)
        inside.clear()
        return result

    from huggingface_hub import constants

    cache = constants.HF_HUB_CACHE
    monkeypatch.setattr(adapters, "fetch", watched)
    names = [name, f"{name}@{commit}", name, f"{name}@main"]
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(source.find(n, base=served[0])))
        for n in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.commit for one in found] == 4 * [commit]
    assert calls == [set(), *3 * [{"adapter_model.safetensors"}]]
