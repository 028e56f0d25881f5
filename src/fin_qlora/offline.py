"""The no-egress switch: nothing is sent anywhere that the user did not name."""

from __future__ import annotations

import logging
import os
import sys
import warnings

from .errors import EnvironmentFault

_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # threads that wait for one another without pause slow 4-bit layers on a processor many
    # times over as soon as another program wants a core; a short wait is as fast when none does
    "GOMP_SPINCOUNT": "3000",
}
_OFFLINE = "HF_HUB_OFFLINE"
#: Holds that name while the variable is our doing and not the user's.
_assumed: set[str] = set()


def quiet_environment() -> None:
    """Turn off the telemetry and update checks of the libraries below us, unless already set.

    Where no hub is named (``HF_ENDPOINT``), the Hugging Face libraries are also put offline: an
    institution's own hub is reached by naming it, the public one only by naming it too. Must run
    before ``huggingface_hub`` or ``transformers`` is imported, since they read these once.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if not _named():
        if _OFFLINE not in os.environ:
            os.environ[_OFFLINE] = "1"
            _assumed.add(_OFFLINE)
    elif _OFFLINE in _assumed:  # the hub was named after a first import of ours
        _assumed.clear()
        os.environ.pop(_OFFLINE, None)
    # on a processor bitsandbytes urges to have a kernel fetched from the public hub
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    # PEFT 0.21 asks transformers 5.23 for an attribute by its former name, at every load
    warnings.filterwarnings(
        "ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning
    )


def endpoint() -> str | None:
    """Return the address of the hub that ``HF_ENDPOINT`` names, or None; empty is unset.

    Everything of this package that asks a hub is given this address. The libraries below us read
    theirs once, when they are loaded, and would go on asking that one, with the token.

    Raises EnvironmentFault when ``huggingface_hub`` was loaded for another hub than this one.
    """
    address = _named()
    client = sys.modules.get("huggingface_hub.constants")
    if address and client and address != client.ENDPOINT:
        raise EnvironmentFault(
            f"HF_ENDPOINT names {address}, but huggingface_hub was loaded for {client.ENDPOINT}.",
            fix="Set HF_ENDPOINT before Python starts, or before the first import.",
        )
    return address


def _named() -> str | None:
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or None
