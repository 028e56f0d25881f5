"""The README.md of an adapter repository, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...prompts import PromptContract
from ..claims import interval_of
from .asked import AskedTask, asked_task
from .metadata import metadata
from .provenance import limits, provenance, texts, training
from .results import results
from .task_sections import answers, data, labels, prompt


def card(
    manifest: Mapping[str, Any],
    *,
    contracts: Mapping[str, PromptContract] | None = None,
    repo_id: str = "ORG/NAME",
    address: str | None = None,
) -> str:
    """Return the README.md of an adapter repository.

    Args:
        manifest: what ``evidence.read_manifest`` returns.
        contracts: name of each task -> its prompt contract; looked up by the manifest's tasks and
            digests if left out.
        repo_id: the name in the lines that show how to load it.
        address: of the hub that it is published on, for links to the files behind the scores.

    Raises ContractError when a contract is not the one that the manifest names.
    """
    tasks = [asked_task(evidence, contracts) for evidence in manifest["tasks"]]
    if len(tasks) == 1:
        of_tasks = _of_task(tasks[0], manifest, "##")
    else:
        of_tasks = [_overview(tasks)]
        for one in tasks:
            of_tasks += [f"## `{one.name}`\n\n{one.title}.", *_of_task(one, manifest, "###")]
    parts = [
        _title(manifest, tasks),
        _loading(repo_id, tasks, manifest),
        *of_tasks,
        training(manifest),
        limits(manifest, tasks),
        texts(manifest),
        provenance(manifest),
    ]
    front = metadata(manifest, tasks, repo_id=repo_id, address=address).to_yaml()
    return f"---\n{front}\n---\n\n" + "\n\n".join(parts) + "\n"


def _title(manifest: Mapping[str, Any], tasks: Sequence[AskedTask]) -> str:
    several = len(tasks) > 1
    title = f"One adapter for {len(tasks)} tasks" if several else tasks[0].title
    base = manifest["base"]
    asked = ", ".join(f"`{one.name}`" for one in tasks)
    text = (
        f"# {title}\n\nA LoRA adapter for [{base['id']}](/{base['id']}) "
        f"(commit `{base['revision']}`), fine-tuned with fin-qlora {manifest['fin_qlora']} "
        f"on the task{'s' if several else ''} {asked}."
    )
    made_up = [f"`{one.name}`" for one in tasks if one.evidence["synthetic"]]
    if made_up:
        which = "" if len(made_up) == len(tasks) else f" of {', '.join(made_up)}"
        text += (
            f"\n\n> **Synthetic data.** The rows{which} that it was trained and scored on were "
            f"made by a program. Their results below say nothing about real text."
        )
    return text


def _loading(repo_id: str, tasks: Sequence[AskedTask], manifest: Mapping[str, Any]) -> str:
    several = len(tasks) > 1
    lines = []
    for one in tasks:
        fields = ", ".join(f'"{name}": "…"' for name in one.contract.fields) or '"text": "…"'
        chosen = f', task="{one.name}"' if several else ""
        call = "generate" if one.free else "predict"
        lines.append(f"adapter.{call}([{{{fields}}}]{chosen})\n")
    return (
        "## Use\n\n"
        "```python\n"
        "from fin_qlora import load_adapter\n"
        f'adapter = load_adapter("{repo_id}")\n' + "".join(lines) + "```\n\n"
        f"`PeftModel.from_pretrained` loads it too; then build the prompt{'s' if several else ''} "
        "below yourself. "
        f"The base was loaded with quantization `{manifest['configuration']['quantization']}` in "
        "training."
    )


def _of_task(one: AskedTask, manifest: Mapping[str, Any], level: str) -> list[str]:
    """Return the sections of one task under headings of a level such as ``##``."""
    sections = [
        ("Prompt", prompt(one)),
        ("Answers", answers(one)) if one.free else ("Labels", labels(one)),
        ("Results", results(one, manifest)),
        ("Data", data(one)),
    ]
    return [f"{level} {heading}\n\n{text}" for heading, text in sections]


def _overview(tasks: Sequence[AskedTask]) -> str:
    lines = []
    for one in tasks:
        found = one.evidence["evaluation"]
        figures = (found["majority"], found["base"]["accuracy"], found["adapter"]["accuracy"])
        shown = " | ".join(f"{figure:.3f}" for figure in figures)
        interval = interval_of(found["adapter"], "accuracy", rows=found["rows"])
        lines.append(f"| `{one.name}` | {found['rows']:,} | {shown} | {interval} |")
    return (
        "## Accuracy on rows that were not trained on\n\n"
        "| Task | Rows | Always the commonest answer | Base model | **This adapter** | "
        "95 % interval |\n|---|---|---|---|---|---|\n" + "\n".join(lines)
    )
