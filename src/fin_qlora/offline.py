"""The no-egress switch: nothing is sent anywhere that the user did not name."""

from __future__ import annotations

import logging
import os
import warnings

_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}


def quiet_environment() -> None:
    """Turn off the telemetry and update checks of the libraries below us, unless already set.

    Where no hub is named (``HF_ENDPOINT``), the Hugging Face libraries are also put offline: an
    institution's own hub is reached by naming it, the public one only by naming it too. Must run
    before ``huggingface_hub`` or ``transformers`` is imported, since they read these once.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if "HF_ENDPOINT" not in os.environ:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # on a processor bitsandbytes urges to have a kernel fetched from the public hub
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    # PEFT 0.21 asks transformers 5.23 for an attribute by its former name, at every load
    warnings.filterwarnings(
        "ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning
    )
