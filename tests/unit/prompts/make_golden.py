"""Write the token ids that every task's prompts must keep: golden_ids.json beside this file.

    python tests/unit/prompts/make_golden.py

Run it only when a prompt was changed on purpose: adapters that were trained before will be asked
differently afterwards. The rows are made up; each task gets a value for every field that it reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fin_qlora import tasks
from fin_qlora.models.base import load_tokenizer
from fin_qlora.models.tiny import tiny_base_path
from fin_qlora.prompts import Form, PromptContract

FILE = Path(__file__).with_name("golden_ids.json")
FORMS: tuple[Form, ...] = ("plain", "chat")
TEXT = "Acme Corp's net sales rose 12.5 % to EUR 1,234 mn.\nShares fell 3%: “cautious” outlook."
ANSWERS = {
    "tag": "us-gaap:AssetsCurrent",
    "number": "-1234.5",
    "formula": "us-gaap:AssetsCurrent / us-gaap:LiabilitiesCurrent",
    "calculation": "0.9880",
    "context": "c3",
    "text": "A short answer, with a comma.",
    "list": "us-gaap:Assets,us-gaap:Liabilities",
}


def golden(tokenizer: Any, name: str, form: Form) -> dict[str, Any]:
    """Return what is kept of one task in one layout."""
    contract = tasks.get(name).contract(form)
    row = {field: f"the {field}" for field in contract.fields} | {"text": TEXT}
    return {
        "digest": contract.digest,
        "prompt": contract.prompt(tokenizer, row),
        "answers": {answer: contract.answer(tokenizer, answer) for answer in answers_of(contract)},
    }


def answers_of(contract: PromptContract) -> tuple[str, ...]:
    """Return all labels, or one free answer of the contract's kind."""
    return contract.labels or (ANSWERS[contract.grammar],)


def main() -> None:
    """Write the file anew."""
    tokenizer = load_tokenizer(tiny_base_path())
    content = {
        name: {form: golden(tokenizer, name, form) for form in FORMS}
        for name in sorted(task.name for task in tasks.shipped())
    }
    short = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    # a line for each task and form, so that a change shows where it is
    FILE.write_text(short.replace('},"', '},\n"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
