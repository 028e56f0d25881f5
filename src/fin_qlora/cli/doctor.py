"""``fin-qlora doctor``: can this machine train, and which hub does it see?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import typer

from ..errors import FinQloraError
from ..evidence.environment import cores, threads_asked
from ..offline import endpoint
from .output import HUMAN, OutputOption, table

#: Bytes below which a run may not find room for a base model and its checkpoints.
_ROOM = 5 * 2**30
_EGRESS = (
    "HF_HUB_OFFLINE",
    "HF_HUB_DISABLE_TELEMETRY",
    "HF_HUB_DISABLE_UPDATE_CHECK",
    "DO_NOT_TRACK",
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at; ``bad`` is what keeps the tool from working."""

    name: str
    state: Literal["good", "note", "bad"]
    detail: str


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("doctor", short_help="Check this machine and its hub.")(doctor)


def doctor(output: OutputOption = HUMAN) -> None:
    """Check Python, packages, accelerator, disk, hub and egress; exit 1 if something is bad."""
    checks = [*_python(), *_packages(), *_accelerator(), _disk(), _hub(), _egress()]
    bad = [check for check in checks if check.state == "bad"]
    output.result(
        {"well": not bad, "checks": [asdict(check) for check in checks]},
        human=table(("", "CHECK", "FOUND"), [(_MARK[c.state], c.name, c.detail) for c in checks]),
        quiet="\n".join(f"{check.name}: {check.detail}" for check in bad) or "well",
    )
    if bad:
        raise typer.Exit(1)


_MARK = {"good": "ok", "note": "--", "bad": "NO"}


def _python() -> Iterator[Check]:
    enough = sys.version_info >= (3, 11)
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Check(name="Python", state="good" if enough else "bad", detail=found)


def _packages() -> Iterator[Check]:
    """Compare every package that we require with the versions that were tested."""
    from packaging.requirements import Requirement

    try:
        required = metadata.requires("fin-qlora") or []
    except metadata.PackageNotFoundError:
        yield Check(name="fin-qlora", state="bad", detail="not installed; run pip install")
        return
    for requirement in sorted(map(Requirement, required), key=lambda each: each.name):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        window = str(requirement.specifier) or "any version"
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Check(name=requirement.name, state="bad", detail=f"missing; needs {window}")
            continue
        if requirement.specifier.contains(version, prereleases=True):
            yield Check(name=requirement.name, state="good", detail=version)
        else:
            yield Check(
                name=requirement.name, state="bad", detail=f"{version}; tested with {window}"
            )


def _accelerator() -> Iterator[Check]:
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            detail = f"{card.name}, {card.total_memory / 2**30:.0f} GiB"
            yield Check(name=f"GPU {index}", state="good", detail=detail)
        bf16 = torch.cuda.is_bf16_supported()
        state: Literal["good", "note"] = "good" if bf16 else "note"
        detail = "supported" if bf16 else "not supported: train with --bf16 false"
        yield Check(name="bfloat16", state=state, detail=detail)
        return
    threads = threads_asked() or cores()
    yield Check(name="GPU", state="note", detail=f"none; {threads} processor threads are used")
    yield Check(name="bfloat16", state="good", detail="supported on the processor")
    if _has_avx512_bf16():
        yield Check(
            name="AVX512-BF16",
            state="note",
            detail="present: 4-bit layers are kept in the layout that can learn",
        )


def _has_avx512_bf16() -> bool:
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and "avx512_bf16" in flags.read_text(encoding="utf-8", errors="replace")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    detail = f"{free / 2**30:.1f} GiB free in this folder's file system"
    return Check(name="disk", state="good" if free > _ROOM else "note", detail=detail)


def _hub() -> Check:
    try:
        address = endpoint()
        if address is None:
            return Check(name="hub", state="note", detail="none; set HF_ENDPOINT to push and pull")
        from ..publishing.hub import client, hub_errors

        with hub_errors(address):
            user = client().whoami()["name"]
    except FinQloraError as error:
        return Check(name="hub", state="bad", detail=str(error))
    return Check(name="hub", state="good", detail=f"{address}, as '{user}'")


def _egress() -> Check:
    found = ", ".join(f"{name}={os.environ.get(name, 'unset')}" for name in _EGRESS)
    return Check(name="egress", state="good", detail=found)
