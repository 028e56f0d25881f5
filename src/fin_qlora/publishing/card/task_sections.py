"""How one task is asked and answered, and on which data: sections of the card."""

from __future__ import annotations

from ...prompts import ANSWER_TOKENS
from .asked import AskedTask


def prompt(one: AskedTask) -> str:
    """Return the prompt, with the row's fields in braces."""
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


def labels(one: AskedTask) -> str:
    """Return the labels and what they mean."""
    meanings = {label.name: label.meaning for label in one.task.labels} if one.task else {}
    rows = [f"| `{label}` | {meanings.get(label, '')} |" for label in one.contract.labels]
    return "| Label | Meaning |\n|---|---|\n" + "\n".join(rows)


def answers(one: AskedTask) -> str:
    """Say how free answers are written."""
    room = one.contract.answer_tokens or ANSWER_TOKENS[one.contract.grammar]
    return (
        f"Free answers of the kind `{one.contract.grammar}`, written token by token, always the "
        f"likeliest one, and at most {room:,} tokens long."
    )


def data(one: AskedTask) -> str:
    """Return the licence, the files and what was left out of them."""
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
