"""The hub that HF_ENDPOINT names, and its errors as ours."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HubRefusedError, UsageError
from ..files import disk_full_is_an_error
from ..models.repository import hub_error

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def endpoint() -> str:
    """Return the address of the hub. Raises UsageError when none is named.

    There is no default: a bank's adapter must not end up on the public hub by omission.
    """
    address = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    if not address:
        raise UsageError(
            "No hub is named.",
            fix="Set HF_ENDPOINT to your hub's address, e.g. http://127.0.0.1:8080.",
        )
    return address


def client(*, token: str | None = None) -> HfApi:
    """Return the stock client for that hub; ``token`` is HF_TOKEN or the stored login."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint(), token=token)


@contextlib.contextmanager
def hub_errors(
    what: str, *, revision: str | None = None, place: Path | None = None
) -> Iterator[None]:
    """Raise the hub client's errors as HubError, a bad name as UsageError, a full disk as such.

    Args:
        what: the repository that is asked for, for the sentence.
        place: the folder that is written to, where the block downloads.
    """
    from httpx2 import HTTPError
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
    )

    try:
        with disk_full_is_an_error(place or Path.cwd()):
            yield
    except HFValidationError as error:
        raise UsageError(
            f"'{what}' is not a name that a hub accepts.", fix="Give it as ORG/NAME."
        ) from error
    except LocalTokenNotFoundError as error:
        raise HubRefusedError(
            f"There is no token for the hub at {endpoint()}.",
            fix="Set HF_TOKEN, or log in with `hf auth login`.",
        ) from error
    except (HTTPError, LocalEntryNotFoundError, ConnectionError) as error:
        raise hub_error(error, what, revision=revision) from error


def split_reference(reference: str) -> tuple[str, str | None]:
    """Split ``ORG/NAME@REVISION`` into (id, revision or None); raises UsageError otherwise."""
    name, _, revision = reference.partition("@")
    organisation, _, model = name.partition("/")
    if not organisation or not model or "/" in model or organisation.startswith((".", "~")):
        raise UsageError(f"'{reference}' is not a repository.", fix="Give it as ORG/NAME.")
    return name, revision or None
