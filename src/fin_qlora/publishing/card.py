"""The model card: every word of it from the manifest and the prompt contracts, nothing typed in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ContractError
from ..prompts import ANSWER_TOKENS, Form, PromptContract
from ..tasks import Task, get, names

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

#: Where the per-row results lie, with the text of every row.
ROWS = "eval/"

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FORMS: tuple[Form, ...] = ("plain", "chat")
#: Metrics by their names in the evidence, and the F1 scores by how they are averaged.
_METRICS = {
    "accuracy": "Accuracy",
    "exact_match": "Exact match",
    "token_f1": "Token F1",
    "weighted_f1": "Weighted F1",
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
}
_AVERAGED = {name: name.removesuffix("_f1") for name in ("weighted_f1", "macro_f1", "micro_f1")}
#: Licence names that the Hub knows by an id; another one is given as "other" with its name.
_LICENCES = {
    name.lower(): name.lower()
    for name in ("Apache-2.0", "MIT", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-SA-3.0", "CC0-1.0")
}


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One task of the adapter: what the manifest tells of it, its prompt, and its own words."""

    evidence: Mapping[str, Any]
    contract: PromptContract
    task: Task | None

    @property
    def name(self) -> str:
        return str(self.evidence["task"])

    @property
    def title(self) -> str:
        return self.task.title if self.task else self.name

    @property
    def dataset(self) -> str | None:
        """Return the hub id of the task's data, or None: a path or an address is not one."""
        homepage = self.task.homepage if self.task else ""
        return homepage if _HUB_ID.fullmatch(homepage) else None

    @property
    def free(self) -> bool:
        return self.contract.grammar != "label"


def card(
    manifest: Mapping[str, Any],
    *,
    contracts: Mapping[str, PromptContract] | None = None,
    repo_id: str = "ORG/NAME",
) -> str:
    """Return the README.md of an adapter repository.

    Args:
        manifest: what ``evidence.read_manifest`` returns.
        contracts: name of each task -> its prompt contract; looked up by the manifest's tasks and
            digests if left out.
        repo_id: the name in the lines that show how to load it.

    Raises ContractError when a contract is not the one that the manifest names.
    """
    tasks = [_asked(evidence, contracts) for evidence in manifest["tasks"]]
    if len(tasks) == 1:
        of_tasks = _of_task(tasks[0], "##")
    else:
        of_tasks = [_overview(tasks)]
        for one in tasks:
            of_tasks += [f"## `{one.name}`\n\n{one.title}.", *_of_task(one, "###")]
    parts = [
        _title(manifest, tasks),
        _loading(repo_id, tasks, manifest),
        *of_tasks,
        _training(manifest),
        _limits(manifest, tasks),
        _texts(manifest),
        _provenance(manifest),
    ]
    front = metadata(manifest, tasks, repo_id=repo_id).to_yaml()
    return f"---\n{front}\n---\n\n" + "\n\n".join(parts) + "\n"


def _asked(evidence: Mapping[str, Any], contracts: Mapping[str, PromptContract] | None) -> _Asked:
    name = evidence["task"]
    task = get(name) if name in names() else None
    given = (contracts or {}).get(name)
    contract = given or _contract(task, evidence)
    if contract.digest != evidence["contract_digest"]:
        raise ContractError(
            f"The prompt contract of task '{name}' is not the one that the manifest names.",
            fix="Give the contract of the adapter's fin_qlora.json.",
        )
    return _Asked(evidence=evidence, contract=contract, task=task)


def metadata(
    manifest: Mapping[str, Any], tasks: Sequence[_Asked], *, repo_id: str
) -> ModelCardData:
    """Return the card's YAML block, with the results of each task in the model-index.

    ``pipeline_tag`` is ``text-generation``, because that is the stock pipeline which loads the
    adapter: it is a causal language model that writes an answer. Where what was measured is
    classification, the model-index says so.
    """
    from huggingface_hub import ModelCardData

    licences = list(dict.fromkeys(one.evidence["licence"] for one in tasks))
    known = _LICENCES.get(licences[0].lower()) if len(licences) == 1 else None
    datasets = list(dict.fromkeys(one.dataset for one in tasks if one.dataset))
    results = [result for one in tasks for result in _eval_results(one, tasks)]
    tags = ["lora", "qlora", "finance", "transformers", "fin_qlora"]
    if not all(one.free for one in tasks):
        tags.append("text-classification")
    return ModelCardData(
        base_model=manifest["base"]["id"],
        base_model_relation="adapter",
        library_name="peft",
        pipeline_tag="text-generation",
        language="en",
        license=known or "other",
        license_name=None if known else ", ".join(licences),
        datasets=datasets or None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)),
        tags=[
            *tags,
            *(one.name for one in tasks),
            *(["synthetic-data"] if any(one.evidence["synthetic"] for one in tasks) else []),
        ],
        model_name=repo_id.rpartition("/")[2],
        eval_results=results,
    )


def _eval_results(one: _Asked, tasks: Sequence[_Asked]) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    figures = one.evidence["evaluation"]["adapter"]
    data = one.dataset or one.name
    same_data = [other for other in tasks if (other.dataset or other.name) == data]
    about: dict[str, Any] = {
        "task_type": "text-generation" if one.free else "text-classification",
        "task_name": "Text generation" if one.free else "Text classification",
        "dataset_type": data,
        "dataset_name": one.title,
        # the Hub tells results apart by this; without it those of one data set would be one
        "dataset_config": one.name if len(same_data) > 1 else None,
        "dataset_split": "test",
    }
    measured = {"accuracy": figures["accuracy"], **figures.get("metrics", {})}
    if "weighted_f1" in figures:
        measured["weighted_f1"] = figures["weighted_f1"]
    return [
        EvalResult(
            **about,
            metric_type="f1" if name in _AVERAGED else name,
            metric_name=_METRICS[name],
            metric_value=round(value, 4),
            metric_args={"average": _AVERAGED[name]} if name in _AVERAGED else None,
        )
        for name, value in measured.items()
    ]


def _contract(task: Task | None, evidence: Mapping[str, Any]) -> PromptContract:
    for form in _FORMS if task else ():
        found = task.contract(form) if task else None
        if found and found.digest == evidence["contract_digest"]:
            return found
    raise ContractError(
        f"Task '{evidence['task']}' of this version asks with another prompt than the adapter.",
        fix="Give the contract of the adapter's fin_qlora.json.",
    )


def _title(manifest: Mapping[str, Any], tasks: Sequence[_Asked]) -> str:
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


def _loading(repo_id: str, tasks: Sequence[_Asked], manifest: Mapping[str, Any]) -> str:
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


def _of_task(one: _Asked, level: str) -> list[str]:
    """Return the sections of one task under headings of a level such as ``##``."""
    sections = [
        ("Prompt", _prompt(one)),
        ("Answers", _answers(one)) if one.free else ("Labels", _labels(one)),
        ("Results", _results(one)),
        ("Data", _data(one)),
    ]
    return [f"{level} {heading}\n\n{text}" for heading, text in sections]


def _overview(tasks: Sequence[_Asked]) -> str:
    lines = []
    for one in tasks:
        found = one.evidence["evaluation"]
        figures = (found["majority"], found["base"]["accuracy"], found["adapter"]["accuracy"])
        shown = " | ".join(f"{figure:.3f}" for figure in figures)
        lines.append(f"| `{one.name}` | {found['rows']:,} | {shown} |")
    return (
        "## Accuracy on rows that were not trained on\n\n"
        "| Task | Rows | Always the commonest answer | Base model | **This adapter** |\n"
        "|---|---|---|---|---|\n" + "\n".join(lines)
    )


def _prompt(one: _Asked) -> str:
    contract, answer = one.contract, "answer" if one.free else "label"
    row = {name: f"{{{name}}}" for name in ("text", *contract.fields)}
    if contract.form == "chat":
        where = f"One user turn of the base's chat template, then the {answer} and the end of turn:"
        text = "\n\n".join(contract.render(row))
    else:
        where = (
            f"The begin token, this text, then one blank, the {answer} and the end token. There "
            "is no blank after `Answer:`."
        )
        text = contract.prompt_text(row)
    return f"{where}\n\n```text\n{text}\n```"


def _labels(one: _Asked) -> str:
    meanings = {label.name: label.meaning for label in one.task.labels} if one.task else {}
    rows = [f"| `{label}` | {meanings.get(label, '')} |" for label in one.contract.labels]
    return "| Label | Meaning |\n|---|---|\n" + "\n".join(rows)


def _answers(one: _Asked) -> str:
    room = one.contract.answer_tokens or ANSWER_TOKENS[one.contract.grammar]
    return (
        f"Free answers of the kind `{one.contract.grammar}`, written token by token, always the "
        f"likeliest one, and at most {room:,} tokens long."
    )


def _results(one: _Asked) -> str:
    found = one.evidence["evaluation"]
    made_up = " (synthetic data)" if one.evidence["synthetic"] else ""
    models = (("Base model", found["base"]), ("**This adapter**", found["adapter"]))
    start = f"On {found['rows']:,} rows that were not trained on{made_up}; "
    if not one.free:
        lines = [
            f"| {name} | {scores['accuracy']:.3f} | {scores['weighted_f1']:.3f} |"
            for name, scores in models
        ]
        return (
            f"{start}every label is scored by its likelihood, so that no answer is unreadable.\n\n"
            "| Model | Accuracy | Weighted F1 |\n|---|---|---|\n"
            f"| Always the commonest label | {found['majority']:.3f} | |\n" + "\n".join(lines)
        )
    metrics = list(found["adapter"]["metrics"])
    outcomes = list(found["adapter"]["outcomes"])
    head = ["Model", "Accuracy", *(_METRICS[name] for name in metrics), *map(str.title, outcomes)]
    rows = [
        ["Always the commonest answer", f"{found['majority']:.3f}"],
        *(
            [
                name,
                f"{scores['accuracy']:.3f}",
                *(f"{scores['metrics'][metric]:.3f}" for metric in metrics),
                *(f"{scores['outcomes'][outcome]:,}" for outcome in outcomes),
            ]
            for name, scores in models
        ),
    ]
    padded = [[*row, *[""] * (len(head) - len(row))] for row in rows]
    table = [head, ["---"] * len(head), *padded]
    return (
        f"{start}each answer was written, read strictly and compared with the right one. Only "
        "exact answers count; the last columns say what became of all: *none* could not be read, "
        "*scale* and *sign* are off by a power of ten or by their sign.\n\n"
        + "\n".join(f"| {' | '.join(row)} |" for row in table)
    )


def _data(one: _Asked) -> str:
    evidence, data = one.evidence, one.evidence["data"]
    rows = [
        f"| `{file['path']}` | {file['rows']:,} | `{file['sha256'][:16]}` |"
        for file in data["files"]
    ]
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(data["dropped"].items()))
    return (
        f"{'Synthetic data, made by a program. ' if evidence['synthetic'] else ''}"
        f"Licence: {evidence['licence']}"
        f"{' (no commercial use)' if evidence['noncommercial'] else ''}. Trained on "
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


def _limits(manifest: Mapping[str, Any], tasks: Sequence[_Asked]) -> str:
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


def _texts(manifest: Mapping[str, Any]) -> str:
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


def _provenance(manifest: Mapping[str, Any]) -> str:
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
