"""The papers of a merged model: where it comes from and what was measured."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from ... import __version__
from ..adapters.folder import AdapterFolder
from .drift import Drift


def evidence_of(
    source: AdapterFolder,
    *,
    dtype: str,
    layers: int,
    adapter_digest: str,
    digest: str,
    drift: Drift,
    quantised: Drift | None,
    tolerance: float,
) -> dict[str, Any]:
    """Return what ``merged_from.json`` says.

    Args:
        layers: weights that were changed.
        adapter_digest: SHA-256 of the adapter's weights.
        digest: that of the merged model, as ``weights_digest`` gives it.
        drift: from the adapter on the 16-bit base.
        quantised: from the adapter on the base as it was trained.
        tolerance: the largest drift that is kept.
    """
    return {
        "schema": 1,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "fin_qlora": __version__,
        "adapter": {"name": _public(source), "revision": source.commit, "sha256": adapter_digest},
        "base": source.base.to_dict(),
        "trained_in": source.trained_in,
        "tasks": [
            {
                "task": name,
                "contract": contract.to_dict(),
                "contract_digest": contract.digest,
            }
            for name, contract in source.tasks.items()
        ],
        "dtype": dtype,
        "changed_weights": layers,
        "digest": digest,
        "tolerance": tolerance,
        "drift": {
            "from_adapter_on_16_bit_base": drift.to_dict(),
            "from_adapter_on_base_as_trained": quantised.to_dict() if quantised else None,
        },
    }


def card_of(evidence: Mapping[str, Any], *, name: str) -> str:
    """Return the README of a merged model, made of what ``merged_from.json`` says."""
    adapter, base = evidence["adapter"], evidence["base"]
    metadata = {
        "base_model": base["id"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["fin-qlora", "merged-lora"],
    }
    head = "\n".join(f"{key}: {json.dumps(value)}" for key, value in metadata.items())
    tasks = ", ".join(f"`{task['task']}`" for task in evidence["tasks"])
    return (
        f"---\n{head}\n---\n\n# {name}\n\n"
        f"The adapter `{adapter['name']}`{_at(adapter['revision'])} merged into its base "
        f"`{base['id']}`{_at(base['revision'])}, for {tasks}.\n\n"
        f"W = W0 + scale · B A in float32 for {evidence['changed_weights']} weights, stored as "
        f"{evidence['dtype']}. `merged_from.json` has the prompts, digests and measurements.\n\n"
        "## Does it answer as the adapter does?\n\n"
        "Asked by the adapter's canaries, worst of them:\n\n"
        "| Compared with | Logits off by | Probability of a label off by | Other next token |\n"
        f"|---|---|---|---|\n{drift_rows(evidence)}\n"
    )


def drift_rows(evidence: Mapping[str, Any]) -> str:
    """Return the rows of a table of how far the merged model's answers are off."""
    rows = [("the adapter on the 16-bit base", evidence["drift"]["from_adapter_on_16_bit_base"])]
    trained = evidence["drift"]["from_adapter_on_base_as_trained"]
    if trained:
        named = f"the adapter on the base in {evidence['trained_in']}, as it was trained"
        rows.append((named, trained))
    return "\n".join(
        f"| {what} | {one['logits']:.2%} | "
        + ("–" if one["probability"] is None else f"{one['probability']:.4f}")
        + f" | {one['turned']} of {one['canaries']} |"
        for what, one in rows
    )


def _public(source: AdapterFolder) -> str:
    """Return the adapter's name on its hub; of a folder of this machine, the last part alone."""
    return source.name if source.commit else source.folder.resolve().name


def _at(revision: str | None) -> str:
    return f" at `{revision}`" if revision else ""
