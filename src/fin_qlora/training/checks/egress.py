"""Which other machines a run would speak to, said before it does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ...models.tiny import TINY_ID
from ...offline import endpoint

#: Hosts that stay on this machine.
_HERE = ("localhost", "127.0.0.1", "::1")

#: Trackers that write files and speak to nobody.
_FILES = {"tensorboard"}


@dataclass(frozen=True, kw_only=True)
class Contact:
    """A machine that a run speaks to, and why; ``host`` is empty where it stays on this one."""

    what: str
    host: str = ""

    @property
    def sentence(self) -> str:
        """Return it as a line for the plan."""
        if not self.host:
            return f"{self.what} stays on this machine"
        return f"{self.what} speaks to {self.host}"


def contacts(training: Any, *, base: str) -> list[Contact]:
    """Return what a run fetches its base from, and what each tracker of ``report_to`` reports to.

    Args:
        training: the training arguments; ``report_to`` and the settings of its trackers are read.
        base: name of the base, a folder or a hub id.
    """
    found = [_of_base(base)]
    found += [_of_tracker(name, training) for name in training.report_to or () if name != "none"]
    return found


def leaving(found: Sequence[Contact]) -> list[str]:
    """Return the hosts among the contacts that are not this machine."""
    return [one.host for one in found if one.host and one.host not in _HERE]


def _of_base(base: str) -> Contact:
    from huggingface_hub import constants

    if base == TINY_ID or os.path.isdir(base):
        return Contact(what=f"the base '{base}'")
    address = endpoint()
    if address is None or constants.HF_HUB_OFFLINE:
        return Contact(what=f"the base '{base}', which is in the local cache,")
    return Contact(what=f"fetching the base '{base}'", host=_host(address))


def _of_tracker(name: str, training: Any) -> Contact:
    what = f"report_to {name}"
    if name in _FILES:
        return Contact(what=what)
    if name == "trackio":
        names = ("trackio_space_id", "trackio_static_space_id", "trackio_bucket_id")
        spaces = [getattr(training, one, None) for one in names] + [os.getenv("TRACKIO_SPACE_ID")]
        if not any(spaces):
            return Contact(what=what)
        return Contact(what=what, host=_host(endpoint() or "https://huggingface.co"))
    if name == "wandb":
        if os.getenv("WANDB_MODE", "").lower() in ("offline", "disabled", "dryrun"):
            return Contact(what=what)
        return Contact(what=what, host=_host(os.getenv("WANDB_BASE_URL", "https://api.wandb.ai")))
    if name == "mlflow":
        address = os.getenv("MLFLOW_TRACKING_URI", "")
        if address.startswith("databricks"):
            return Contact(what=what, host=os.getenv("DATABRICKS_HOST", "your Databricks host"))
        return Contact(what=what, host=_host(address) if "://" in address else "")
    return Contact(what=what, host=f"{name}'s own service")


def _host(address: str) -> str:
    parts = urlsplit(address)
    return "" if parts.scheme in ("file", "sqlite") else parts.hostname or address
