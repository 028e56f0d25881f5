"""The energy that a GPU has used, as its driver counts it."""

from __future__ import annotations

import ctypes

#: Comes with every NVIDIA driver; its functions have kept their names and arguments since 2011.
_LIBRARY = "libnvidia-ml.so.1"


def gpu_energy_joules(uuid: str, *, library: str = _LIBRARY) -> float | None:
    """Return the joules that a GPU has used since its driver was loaded.

    None where there is no NVIDIA driver, or where the GPU does not count (older than Volta, or a
    slice of a GPU that is shared).

    Args:
        uuid: of the GPU, with or without the ``GPU-`` that begins it.

    Source: NVIDIA's NVML API reference, ``nvmlDeviceGetTotalEnergyConsumption`` (millijoules).
    """
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return None
    if nvml.nvmlInit_v2() != 0:
        return None
    try:
        name = (uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}").encode("ascii")
        device = ctypes.c_void_p()
        if nvml.nvmlDeviceGetHandleByUUID(ctypes.c_char_p(name), ctypes.byref(device)) != 0:
            return None
        used = ctypes.c_ulonglong()
        if nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(used)) != 0:
            return None
        return used.value / 1000
    finally:
        nvml.nvmlShutdown()
