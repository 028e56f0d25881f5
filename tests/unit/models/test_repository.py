"""The named hub is asked and no other, and each thing that goes wrong has its own sentence."""

from __future__ import annotations

import errno
import json

import huggingface_hub
import pytest
from httpx2 import ConnectError, ReadTimeout, UnsupportedProtocol
from huggingface_hub.errors import FileMetadataError, LocalEntryNotFoundError, OfflineModeIsEnabled

from fin_qlora.errors import (
    DiskFullError,
    EnvironmentFault,
    HubError,
    HubNotFoundError,
    HubUnreachableError,
    UsageError,
)
from fin_qlora.models.repository import fetch

HUB = "http://127.0.0.1:9"


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the client was asked for; `asked.error` is what it raises, else it gives a folder."""

    class Asked(dict):
        error: Exception | None = None

    seen = Asked()
    (tmp_path / "config.json").write_text("{}")

    def download(_reference, **options):
        seen.update(options)
        if seen.error:
            raise seen.error
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return seen


def get():
    return fetch("bank/secret", revision=None, needs="config.json")


def test_the_named_hub_is_handed_to_the_client(asked):
    get()
    assert asked["endpoint"] == HUB
    assert asked["local_files_only"] is False


def test_weights_are_fetched_only_where_they_are_needed(asked):
    get()
    whole = set(asked["allow_patterns"])
    fetch("bank/secret", revision=None, needs="config.json", weights=False)
    assert whole - set(asked["allow_patterns"]) == {"*.safetensors"}
    assert {"*.json", "*.jinja", "tokenizer.model"} <= set(asked["allow_patterns"])


@pytest.mark.parametrize("value", ["", None])
def test_without_a_named_hub_only_the_cache_is_read(asked, monkeypatch, value):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("HF_ENDPOINT")
    if value is not None:
        monkeypatch.setenv("HF_ENDPOINT", value)
    get()
    assert asked["local_files_only"] is True
    asked.error = LocalEntryNotFoundError("Cannot find it.")
    with pytest.raises(HubNotFoundError, match=r"not in the local cache.*Set HF_ENDPOINT"):
        get()


def test_a_client_loaded_for_another_hub_is_not_used(asked, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://huggingface.co")
    with pytest.raises(EnvironmentFault, match="before Python starts"):
        get()
    assert asked == {}


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_a_name_that_no_hub_takes():
    with pytest.raises(UsageError, match="ORG/NAME"):
        fetch("bank/two words", revision=None, needs="config.json")


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError, "disk is full"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/cache/models"),
            EnvironmentFault,
            "'/cache/models' could not be read or written: Permission denied.",
        ),
        (ConnectError("refused"), HubUnreachableError, "No hub answers at"),
        (UnsupportedProtocol("no http"), HubUnreachableError, "check HF_ENDPOINT"),
        (
            caused(LocalEntryNotFoundError("x"), ReadTimeout("late")),
            HubUnreachableError,
            "No hub answers at",
        ),
        (
            caused(LocalEntryNotFoundError("x"), OfflineModeIsEnabled("y")),
            HubUnreachableError,
            "HF_HUB_OFFLINE is set",
        ),
        (FileMetadataError("no commit"), HubError, "does not speak as a hub: no commit"),
        (json.JSONDecodeError("no JSON", "<html>", 0), HubError, "does not speak as a hub"),
    ],
)
def test_what_goes_wrong_is_told_apart(asked, error, kind, sentence):
    asked.error = error
    with pytest.raises(kind, match=sentence) as caught:
        get()
    assert type(caught.value) is kind
