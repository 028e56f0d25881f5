"""The heads of safetensors files are shown without the tensors."""

import json
import struct

import pytest
from huggingface_hub.errors import HfHubHTTPError

from fin_qlora_hub.cards import descriptions
from fin_qlora_hub.contents.tensors import count_parameters


def weights(**tensors: int) -> bytes:
    position, header = 0, {}
    for name, count in tensors.items():
        end = position + 4 * count
        header[name] = {"dtype": "F32", "shape": [count], "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(position)


def upload(api, name: str, path: str, data: bytes) -> None:
    api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=name)


@pytest.mark.parametrize("path", ["model.safetensors", "adapter_model.safetensors"])
def test_information_counts_the_parameters(api, repository, monkeypatch, path) -> None:
    def counted() -> dict[str, int] | None:
        (listed,) = api.list_models(search=repository, expand=["safetensors"])
        told = api.model_info(repository).safetensors
        assert told == api.model_info(repository, expand=["safetensors"]).safetensors
        assert told == listed.safetensors
        assert told is None or told.total == sum(told.parameters.values())
        return told and told.parameters

    assert counted() is None
    upload(api, repository, path, weights(a=3, b=400_000))
    assert counted() == {"F32": 400_003}
    with monkeypatch.context() as patched:
        patched.setattr(descriptions, "read_header", None)  # the same weights are read once
        upload(api, repository, "README.md", b"---\nlicense: mit\n---\n")
    assert counted() == {"F32": 400_003}
    for damaged in (b"", b"no header", struct.pack("<Q", 2**60) + b"{}"):
        upload(api, repository, path, damaged)
        assert counted() is None
    upload(api, repository, path, weights(a=5))
    assert counted() == {"F32": 5}
    api.delete_file(path, repository)
    assert counted() is None


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        ({"dtype": "F16", "shape": [2, 3]}, {"F16": 6}),
        ({"dtype": "F16", "shape": []}, {"F16": 1}),
        ({"dtype": "F16", "shape": [2, -3]}, {}),
        ({"dtype": "F16", "shape": [True]}, {}),
        ({"dtype": "F16", "shape": [2**52, 2**52]}, {}),
        ({"dtype": "F16", "shape": "2"}, {}),
        ({"dtype": "\ud800", "shape": [2]}, {}),
        ({"dtype": ["F16"], "shape": [2]}, {}),
        ([], {}),
    ],
)
def test_headers_that_cannot_be_right_count_nothing(tensor, expected) -> None:
    assert count_parameters({"__metadata__": {}, "w": tensor}) == expected


def test_files_and_indexes(api, repository, running) -> None:
    upload(api, repository, "adapter_model.safetensors", weights(a=3, b=400_000))
    found = api.parse_safetensors_file_metadata(repository, "adapter_model.safetensors")
    assert found.parameter_count == {"F32": 400_003}
    for number, name in enumerate("ab", start=1):
        upload(api, repository, f"model-{number}.safetensors", weights(**{name: number}))
    index = {"metadata": {"total_size": 12}, "weight_map": {"a": "model-1.safetensors"}}
    index["weight_map"]["b"] = "model-2.safetensors"
    upload(api, repository, "model.safetensors.index.json", json.dumps(index).encode())
    whole = api.get_sharded_safetensors_metadata(repository)
    assert whole.metadata == {"total_size": 12}
    assert whole.weight_map == index["weight_map"]
    assert api.get_safetensors_metadata(repository).parameter_count == {"F32": 3}
    with running.http() as http:
        path = f"/api/models/{repository}/safetensors-metadata/adapter_model.safetensors"
        assert http.get(path).json()["headers"]["adapter_model.safetensors"]["a"]["shape"] == [3]
    with running.http("carol") as http:
        assert http.get(path).status_code == 404


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{x",
    ],
)
def test_what_is_no_file_of_weights(api, repository, running, data) -> None:
    upload(api, repository, "w.safetensors", data)
    upload(api, repository, "w.index.json", data or b"x")
    with running.http() as http:
        for path in ("w.safetensors", "w.index.json"):
            answer = http.get(f"/api/models/{repository}/safetensors-metadata/{path}")
            assert answer.status_code == 400
        answer = http.get(f"/api/models/{repository}/safetensors-metadata/missing")
        assert answer.headers["x-error-code"] == "EntryNotFound"


def test_an_index_that_names_what_is_missing(api, repository) -> None:
    index = {"weight_map": {"a": "../../other/model.safetensors"}}
    upload(api, repository, "model.safetensors.index.json", json.dumps(index).encode())
    with pytest.raises(HfHubHTTPError, match="does not exist"):
        api.get_sharded_safetensors_metadata(repository)
