"""What an accelerate profile says of the processes that it starts."""

from __future__ import annotations

from typing import Any

import yaml

from ..errors import UsageError
from ..training.launched import Launched
from .catalogue import accelerate_profile_path


def read_profile(name: str) -> Launched:
    """Return what a profile tells a run, given its shipped name or the path of a file.

    Raises:
        UnknownNameError: no profile has that name.
        UsageError: the file is no YAML mapping, its number of processes is none, or it asks for
            DeepSpeed without a configuration.
    """
    path = accelerate_profile_path(name)
    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"'{path}' is not valid YAML: {first}.", fix="Mend it.") from error
    if not isinstance(found, dict):
        raise UsageError(f"'{path}' is no accelerate profile.", fix="Write `key: value` lines.")
    processes = found.get("num_processes", 1)
    if not isinstance(processes, int) or processes < 1:
        raise UsageError(
            f"'{path}' sets num_processes to {processes!r}.", fix="Use a number of 1 or more."
        )
    kind = str(found.get("distributed_type", "NO")).upper()
    return Launched(
        processes=processes,
        deepspeed=_configuration(found, place=str(path)) if kind == "DEEPSPEED" else None,
        fsdp=kind == "FSDP",
    )


def _configuration(profile: dict[str, Any], *, place: str) -> str:
    file = (profile.get("deepspeed_config") or {}).get("deepspeed_config_file")
    if not isinstance(file, str):
        raise UsageError(
            f"'{place}' asks for DeepSpeed and names no deepspeed_config_file.",
            fix="Name one of ds_configs/, or a path.",
        )
    return file
