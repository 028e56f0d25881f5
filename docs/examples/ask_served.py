"""Ask an adapter that vLLM serves, as it was trained: ask_served.py URL ORG/NAME@COMMIT TEXT...

The server gets token ids, made here by the prompt contract of the adapter (of one task), and gives
back how likely each label is: nothing is generated, nothing parsed. HF_ENDPOINT names the hub.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import urllib.request
from pathlib import Path
from typing import Any

from fin_qlora.evidence import read_record
from fin_qlora.models.base import load_tokenizer
from fin_qlora.models.repository import fetch
from fin_qlora.prompts import PromptContract


class ServedAdapter:
    """The adapter ``name`` of a server: its contract and tokenizer are here, its weights there."""

    def __init__(self, url: str, name: str, folder: Path) -> None:
        self.url, self.name = url.rstrip("/"), name
        (task,) = read_record(folder)["tasks"]
        self.contract = PromptContract.from_dict(task["contract"])
        self.tokenizer = load_tokenizer(folder)

    def scores(self, row: dict[str, Any] | str) -> dict[str, float]:
        """Return the probability of each label: of its tokens and of the end token after them."""
        prompt = self.contract.prompt(self.tokenizer, row)
        answers = self.contract.answers(self.tokenizer, self.contract.labels)
        done = self._completed([prompt + answer for answer in answers])
        totals = [math.fsum(choice["logprobs"]["token_logprobs"][len(prompt) :]) for choice in done]
        highest = max(totals)
        weights = [math.exp(total - highest) for total in totals]
        return {
            label: weight / math.fsum(weights)
            for label, weight in zip(self.contract.labels, weights, strict=True)
        }

    def _completed(self, prompts: list[list[int]]) -> list[dict[str, Any]]:
        """Have the server read the prompts, and nothing written to them."""
        asked = {
            "model": self.name,
            "prompt": prompts,
            "echo": True,
            "max_tokens": 0,
            "logprobs": 0,
            "temperature": 0,
        }
        request = urllib.request.Request(
            f"{self.url}/v1/completions",
            data=json.dumps(asked).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            choices = json.load(answer)["choices"]
        return sorted(choices, key=lambda choice: choice["index"])


def main() -> None:
    """Print the likeliest label of each text and its probability."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the server, without /v1")
    parser.add_argument("adapter", help="ORG/NAME@COMMIT")
    parser.add_argument("texts", nargs="+")
    arguments = parser.parse_args()
    name, _, revision = arguments.adapter.partition("@")
    folder, _ = fetch(name, revision=revision or None, needs="fin_qlora.json", weights=False)
    served = ServedAdapter(arguments.url, arguments.adapter, folder)
    for text in arguments.texts:
        scores = served.scores(text)
        best = max(scores, key=scores.__getitem__)
        sys.stdout.write(f"{best}\t{scores[best]:.3f}\t{text}\n")


if __name__ == "__main__":
    main()
