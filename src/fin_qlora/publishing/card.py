"""The model card: every word of it from the manifest and the prompt contract, nothing typed in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ContractError
from ..prompts import Form, PromptContract
from ..tasks import Task, get, names

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

#: Where the per-row results lie, with the text of every row.
ROWS = "eval/"

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FORMS: tuple[Form, ...] = ("plain", "chat")
#: Licence names that the Hub knows by an id; another one is given as "other" with its name.
_LICENCES = {
    name.lower(): name.lower()
    for name in ("Apache-2.0", "MIT", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-SA-3.0", "CC0-1.0")
}


def card(
    manifest: Mapping[str, Any],
    *,
    contract: PromptContract | None = None,
    repo_id: str = "ORG/NAME",
) -> str:
    """Return the README.md of an adapter repository.

    Args:
        manifest: what ``evidence.read_manifest`` returns.
        contract: the prompt contract; looked up by the manifest's task and digest if left out.
        repo_id: the name in the lines that show how to load it.

    Raises ContractError when the contract is not the one that the manifest names.
    """
    task = get(manifest["task"]) if manifest["task"] in names() else None
    asked = contract or _contract(task, manifest)
    if asked.digest != manifest["contract_digest"]:
        raise ContractError(
            "The prompt contract is not the one that the manifest names.",
            fix="Give the contract of the adapter's fin_qlora.json.",
        )
    parts = [
        _title(manifest, task),
        _loading(repo_id, asked, manifest),
        _prompt(asked),
        _labels(asked, task),
        _results(manifest),
        _data(manifest),
        _training(manifest),
        _limits(manifest),
        _texts(manifest),
        _provenance(manifest),
    ]
    front = metadata(manifest, task=task, repo_id=repo_id).to_yaml()
    return f"---\n{front}\n---\n\n" + "\n\n".join(parts) + "\n"


def metadata(manifest: Mapping[str, Any], *, task: Task | None, repo_id: str) -> ModelCardData:
    """Return the card's YAML block, with the results as a model-index.

    ``pipeline_tag`` is ``text-generation``, because that is the stock pipeline which loads the
    adapter: it is a causal language model that writes a label. What was measured is
    classification, and the model-index says so.
    """
    from huggingface_hub import EvalResult, ModelCardData

    title = task.title if task else manifest["task"]
    scores = manifest["evaluation"]["adapter"]

    def result(metric: str, name: str, value: float, **arguments: Any) -> EvalResult:
        return EvalResult(
            task_type="text-classification",
            task_name="Text classification",
            dataset_type=_dataset(task) or manifest["task"],
            dataset_name=title,
            dataset_split="test",
            metric_type=metric,
            metric_name=name,
            metric_value=round(value, 4),
            **arguments,
        )

    licence = manifest["licence"]
    known = _LICENCES.get(licence.lower())
    tags = ["lora", "qlora", "finance", "transformers", "fin_qlora", "text-classification"]
    return ModelCardData(
        base_model=manifest["base"]["id"],
        base_model_relation="adapter",
        library_name="peft",
        pipeline_tag="text-generation",
        language="en",
        license=known or "other",
        license_name=None if known else licence,
        datasets=[dataset] if (dataset := _dataset(task)) else None,
        metrics=["accuracy", "f1"],
        tags=[*tags, manifest["task"], *(["synthetic-data"] if manifest["synthetic"] else [])],
        model_name=repo_id.rpartition("/")[2],
        eval_results=[
            result("accuracy", "Accuracy", scores["accuracy"]),
            result("f1", "Weighted F1", scores["weighted_f1"], metric_args={"average": "weighted"}),
        ],
    )


def _dataset(task: Task | None) -> str | None:
    """Return the hub id of the task's data, or None: a path or an address is not one."""
    return task.homepage if task and _HUB_ID.fullmatch(task.homepage) else None


def _contract(task: Task | None, manifest: Mapping[str, Any]) -> PromptContract:
    for form in _FORMS if task else ():
        found = task.contract(form) if task else None
        if found and found.digest == manifest["contract_digest"]:
            return found
    raise ContractError(
        f"Task '{manifest['task']}' of this version asks with another prompt than the adapter.",
        fix="Give the contract of the adapter's fin_qlora.json.",
    )


def _title(manifest: Mapping[str, Any], task: Task | None) -> str:
    title = task.title if task else manifest["task"]
    base = manifest["base"]
    text = (
        f"# {title}\n\nA LoRA adapter for [{base['id']}](/{base['id']}) "
        f"(commit `{base['revision']}`), fine-tuned with fin-qlora {manifest['fin_qlora']} "
        f"on the task `{manifest['task']}`."
    )
    if manifest["synthetic"]:
        text += (
            "\n\n> **Synthetic data.** The rows that it was trained and scored on were made by a "
            "program. The results below say nothing about real text."
        )
    return text


def _loading(repo_id: str, contract: PromptContract, manifest: Mapping[str, Any]) -> str:
    fields = ", ".join(f'"{name}": "…"' for name in contract.fields) or '"text": "…"'
    return (
        "## Use\n\n"
        "```python\n"
        "from fin_qlora import load_adapter\n"
        f'adapter = load_adapter("{repo_id}")\n'
        f"adapter.predict([{{{fields}}}])\n"
        "```\n\n"
        "`PeftModel.from_pretrained` loads it too; then build the prompt below yourself. "
        f"The base was loaded with quantization `{manifest['configuration']['quantization']}` in "
        "training."
    )


def _prompt(contract: PromptContract) -> str:
    row = {name: f"{{{name}}}" for name in ("text", *contract.fields)}
    if contract.form == "chat":
        where = "One user turn of the base's chat template, then the label and the end of turn:"
        text = "\n\n".join(contract.render(row))
    else:
        where = (
            "The begin token, this text, then one blank, the label and the end token. There is no "
            "blank after `Answer:`."
        )
        text = contract.prompt_text(row)
    return f"## Prompt\n\n{where}\n\n```text\n{text}\n```"


def _labels(contract: PromptContract, task: Task | None) -> str:
    meanings = {label.name: label.meaning for label in task.labels} if task else {}
    rows = [f"| `{label}` | {meanings.get(label, '')} |" for label in contract.labels]
    return "## Labels\n\n| Label | Meaning |\n|---|---|\n" + "\n".join(rows)


def _results(manifest: Mapping[str, Any]) -> str:
    found = manifest["evaluation"]
    lines = [
        f"| {name} | {scores['accuracy']:.3f} | {scores['weighted_f1']:.3f} |"
        for name, scores in (("Base model", found["base"]), ("**This adapter**", found["adapter"]))
    ]
    return (
        f"## Results\n\nOn {found['rows']:,} rows that were not trained on"
        f"{' (synthetic data)' if manifest['synthetic'] else ''}; every label is scored by its "
        "likelihood, so that no answer is unreadable.\n\n"
        "| Model | Accuracy | Weighted F1 |\n|---|---|---|\n"
        f"| Always the commonest label | {found['majority']:.3f} | |\n" + "\n".join(lines)
    )


def _data(manifest: Mapping[str, Any]) -> str:
    data = manifest["data"]
    rows = [
        f"| `{file['path']}` | {file['rows']:,} | `{file['sha256'][:16]}` |"
        for file in data["files"]
    ]
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(data["dropped"].items()))
    return (
        f"## Data\n\n{'Synthetic data, made by a program. ' if manifest['synthetic'] else ''}"
        f"Licence: {manifest['licence']}"
        f"{' (no commercial use)' if manifest['noncommercial'] else ''}. Trained on "
        f"{data['train_rows']:,} rows, scored on {data['evaluation_rows']:,}; left out: "
        f"{dropped or 'none'}.\n\n"
        "| File | Rows | SHA-256 (first 16) |\n|---|---|---|\n" + "\n".join(rows)
    )


def _training(manifest: Mapping[str, Any]) -> str:
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


def _limits(manifest: Mapping[str, Any]) -> str:
    gain = manifest["evaluation"]["adapter"]["accuracy"] - manifest["evaluation"]["majority"]
    lines = [
        "It answers with one of the labels above, whatever it is asked; another text, language or "
        "question is outside of what was measured.",
        f"It is {gain:+.3f} in accuracy against always giving the commonest label.",
        "The base model's own terms and limits apply as well.",
    ]
    if manifest["synthetic"]:
        lines.insert(0, "It was made to show the tool, on synthetic data. Decide nothing by it.")
    if manifest["noncommercial"]:
        lines.append("The data's licence forbids commercial use of what is made from it.")
    if any(file.get("partial") for file in manifest["data"]["files"]):
        lines.append("A data file had fewer rows than were published.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _texts(manifest: Mapping[str, Any]) -> str:
    """Say which texts of the data a reader of the repository gets to see."""
    count = manifest["data"]["evaluation_rows"]
    rows = (
        f"`{ROWS}` holds the text, the label and the scores of all {count:,} evaluation rows, and "
        if _has_rows(manifest)
        else f"The texts of the {count:,} evaluation rows are not published with it, but "
    )
    return (
        f"## Texts of the data in this repository\n\n{rows}"
        "`fin_qlora.json` holds the text of up to eight of them, which are asked again when the "
        "adapter is loaded. Who may read this repository may read them."
    )


def _has_rows(manifest: Mapping[str, Any]) -> bool:
    return any(name.startswith(ROWS) for name in manifest["files"])


def _provenance(manifest: Mapping[str, Any]) -> str:
    base = manifest["base"]
    versions = ", ".join(
        f"{name} {version}" for name, version in sorted(manifest["versions"].items())
    )
    return (
        "## Provenance\n\n"
        f"Base weights `{base['digest']}` · prompt contract `{manifest['contract_digest']}` · "
        f"seed {manifest['seed']} · {manifest['created']}\n\n"
        f"Versions: {versions}.\n\n"
        f"```sh\n{shlex.join(manifest['command'])}\n```\n\n"
        "`manifest.json` has the digest of every file; `fin-qlora verify FOLDER` checks them."
    )
