"""How the adapter was trained, what it is not for, and where it comes from: ends of the card."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ..claims import ROWS
from .asked import AskedTask


def training(manifest: Mapping[str, Any]) -> str:
    """Return settings and cost."""
    settings = [
        f"| {name} | {_value(value)} |" for name, value in sorted(manifest["configuration"].items())
    ]
    cost = manifest["cost"]
    memory = cost["peak_memory_bytes"]
    figures = [
        ("Training time", f"{cost['train_seconds']:,.0f} s"),
        ("GPU hours", f"{cost['gpu_hours']:.3f}"),
        ("Peak memory", f"{memory / 2**20:,.0f} MiB" if memory else "not measured"),
        ("Adapter size", f"{cost['adapter_bytes'] / 2**10:,.0f} KiB"),
        ("Trained parameters", f"{cost['trainable_parameters']:,}"),
    ]
    return (
        "## Training\n\n| Setting | Value |\n|---|---|\n"
        + "\n".join(settings)
        + "\n\n## Cost\n\n| Figure | Value |\n|---|---|\n"
        + "\n".join(f"| {name} | {value} |" for name, value in figures)
    )


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def limits(manifest: Mapping[str, Any], tasks: Sequence[AskedTask]) -> str:
    """Say what it is not for, and how little it may be worth."""
    lines = ["The base model's own terms and limits apply as well."]
    for one in reversed(tasks):
        found = one.evidence["evaluation"]
        gain = found["adapter"]["accuracy"] - found["majority"]
        answer = "answer" if one.free else "label"
        of_task = f" of `{one.name}`" if len(tasks) > 1 else ""
        lines.insert(
            0,
            f"It is {gain:+.3f} in accuracy against always giving the commonest {answer}{of_task}.",
        )
    lines.insert(
        0,
        "Another text, language or question than those above is outside of what was measured."
        if any(one.free for one in tasks)
        else "It answers with one of the labels above, whatever it is asked; another text, "
        "language or question is outside of what was measured.",
    )
    if any(one.evidence["synthetic"] for one in tasks):
        lines.insert(0, "It was made to show the tool, on synthetic data. Decide nothing by it.")
    if any(one.evidence["noncommercial"] for one in tasks):
        lines.append("The data's licence forbids commercial use of what is made from it.")
    if any(file.get("partial") for one in tasks for file in one.evidence["data"]["files"]):
        lines.append("A data file had fewer rows than were published.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def texts(manifest: Mapping[str, Any]) -> str:
    """Say which texts of the data a reader of the repository gets to see."""
    tasks = manifest["tasks"]
    count = sum(task["data"]["evaluation_rows"] for task in tasks)
    most = "eight" if len(tasks) <= 8 else f"{len(tasks)}"  # every task has one
    rows = (
        f"`{ROWS}` holds the text, the right answer and the results of all {count:,} evaluation "
        "rows, and "
        if _has_rows(manifest)
        else f"The texts of the {count:,} evaluation rows are not published with it, but "
    )
    return (
        f"## Texts of the data in this repository\n\n{rows}"
        f"`fin_qlora.json` holds the text of up to {most} of them, of which the first of each task "
        "is asked again when the adapter is loaded. Who may read this repository may read them."
    )


def _has_rows(manifest: Mapping[str, Any]) -> bool:
    return any(name.startswith(ROWS) for name in manifest["files"])


def provenance(manifest: Mapping[str, Any]) -> str:
    """Return digests, seed, versions and command."""
    base = manifest["base"]
    contracts = ", ".join(f"`{task['contract_digest']}`" for task in manifest["tasks"])
    versions = ", ".join(
        f"{name} {version}" for name, version in sorted(manifest["versions"].items())
    )
    return (
        "## Provenance\n\n"
        f"Base weights `{base['digest']}` · prompt contract {contracts} · "
        f"seed {manifest['seed']} · {manifest['created']}\n\n"
        f"Versions: {versions}.\n\n"
        f"```sh\n{shlex.join(manifest['command'])}\n```\n\n"
        "`manifest.json` has the digest of every file; `fin-qlora verify FOLDER` checks them."
    )
