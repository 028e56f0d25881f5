"""Loading an adapter so that it is the one that was trained, on the base it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from ...errors import UnknownNameError
from ...models.base import Quantization, load_model
from .adapter import Adapter
from .attached import attach_adapter
from .folder import Verify, read_adapter
from .roster import name_of

#: Bits of the base's weights that say which quantisation is meant.
_BITS: dict[int, Quantization] = {4: "4bit", 8: "8bit"}


def load_adapter(
    reference: str | Path,
    *,
    revision: str | None = None,
    base: str | Path | None = None,
    quantization: Literal["auto", 4, 8] | Quantization = "auto",
    device_map: Any = None,
    verify: Verify = True,
) -> Adapter:
    """Load an adapter from the hub that HF_ENDPOINT names, from the cache, or from a folder.

    No code of the base or the adapter is run, and no pickle is opened.

    Args:
        reference: ``org/name`` or a folder.
        revision: branch, tag or commit of the adapter's repository.
        base: a folder or id to take the base from instead of the one that the adapter names; its
            weights must have the same digest.
        quantization: how to load the base; ``auto`` is as it was trained, 4 and 8 are ``4bit`` and
            ``8bit``.
        device_map: where the base's layers go, as Transformers takes it; None is this process's
            GPU, if there is any.
        verify: compare every file with its digest in the manifest, replay the first canary of
            each task and compare what comes out with what was recorded in training. ``"full"``
            replays all canaries, under the base alone as well, and reads the base's weights for
            their digest even where they are known to be untouched. False trusts the files, though
            their tensors, prompts and base must fit all the same.

    Raises:
        HubNotFoundError, HubRefusedError, HubUnreachableError: it could not be fetched.
        AdapterMismatchError: other base, other prompt, tensors that do not fit, an adapter that
            does nothing, or a canary that sings differently.
        NotFiniteError: a weight is NaN or infinite.
        RemoteCodeError: base or adapter name code of their own to be run.
    """
    asked = _quantization(quantization)
    source = read_adapter(reference, revision=revision, base=base, verify=verify)
    used = source.trained_in if asked == "auto" else asked
    options = {} if device_map is None else {"device_map": device_map}
    attached = attach_adapter(
        load_model(source.base_folder, quantization=used, **options),
        source,
        name=name_of(source.name),
        slot="default",
        quantization=used,
        verify=verify,
    )
    return Adapter(attached, base=source.base, base_folder=source.base_folder, quantization=used)


def _quantization(value: Any) -> Literal["auto"] | Quantization:
    named: Any = _BITS.get(value, value) if isinstance(value, int) else value
    known = ("auto", *get_args(Quantization))
    if named not in known:
        raise UnknownNameError("quantization", str(value), (*known, "4", "8"))
    found: Literal["auto"] | Quantization = named
    return found
