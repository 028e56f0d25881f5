"""The client for the hub that HF_ENDPOINT names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import offline
from ..errors import UsageError
from ..models.repository import hub_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["client", "endpoint", "hub_errors", "split_reference"]


def endpoint() -> str:
    """Return the address of the hub. Raises UsageError when none is named.

    There is no default: a bank's adapter must not end up on the public hub by omission.
    """
    address = offline.endpoint()
    if address is None:
        raise UsageError(
            "No hub is named.",
            fix="Set HF_ENDPOINT to your hub's address, e.g. http://127.0.0.1:8080.",
        )
    return address


def client(*, token: str | None = None) -> HfApi:
    """Return the stock client for that hub; ``token`` is HF_TOKEN or the stored login."""
    offline.quiet_environment()
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint(), token=token)


def split_reference(reference: str) -> tuple[str, str | None]:
    """Split ``ORG/NAME@REVISION`` into (id, revision or None); raises UsageError otherwise."""
    name, _, revision = reference.partition("@")
    organisation, _, model = name.partition("/")
    if not organisation or not model or "/" in model or organisation.startswith((".", "~")):
        raise UsageError(f"'{reference}' is not a repository.", fix="Give it as ORG/NAME.")
    return name, revision or None
