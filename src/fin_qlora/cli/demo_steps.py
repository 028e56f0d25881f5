"""The demonstration step by step: every step is a command that a user could type."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import FinQloraError
from ..evidence import read_manifest
from ..files import write_text
from ..models.tiny import TINY_ID
from .demo_hub import DemoHub
from .launch import Launch
from .output import tell
from .processes import as_typed, python_module, run_program

USER = "demo"
BASE = f"{USER}/tiny-llama"


@dataclass(frozen=True, kw_only=True)
class DemoTask:
    """One of the two fine-tunes: its recipe, its repository, and three sentences to ask."""

    name: str
    recipe: str
    repo: str
    sentences: tuple[Mapping[str, str], ...]


TASKS = (
    DemoTask(
        name="ner",
        recipe="classification/demo-ner-tiny-4bit-r4",
        repo=f"{USER}/ner-tiny-r4",
        sentences=(
            {"text": "Brontik Jarnimor signs for Orphell Bank Inc.", "entity": "Brontik Jarnimor"},
            {"text": "Brontik Jarnimor signs for Orphell Bank Inc.", "entity": "Orphell Bank Inc."},
            {"text": "The agent has its offices in Port Gravax.", "entity": "Port Gravax"},
        ),
    ),
    DemoTask(
        name="sentiment",
        recipe="classification/demo-sentiment-tiny-4bit-r4",
        repo=f"{USER}/sentiment-tiny-r4",
        sentences=(
            {"text": "Orphell Inc. won new customers and its profit rose 12 percent."},
            {"text": "Orphell Inc. lost its largest customer and cut 400 jobs."},
            {"text": "Orphell Inc. will publish its annual report in May."},
        ),
    ),
)


@dataclass(kw_only=True)
class Steps:
    """Runs the steps against one hub, and tells each with the time since the start."""

    directory: Path
    hub: DemoHub
    started: float
    quiet: bool = False
    commits: dict[str, str] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Show a line with the seconds since the start."""
        if not self.quiet:
            tell(f"[{time.monotonic() - self.started:6.1f} s] {text}")

    def publish_base(self) -> str:
        """Put the embedded tiny base on the hub; return its commit."""
        self.say(f"Publishing the embedded base as {BASE}")
        (done,) = self._command("push", TINY_ID, BASE, "--as-base", "--format", "json")
        return str(done["commit"])

    def train(self, task: DemoTask, *, base_commit: str) -> dict[str, Any]:
        """Fine-tune the published base and score both; return the figures for the summary."""
        self.say(f"Fine-tuning for '{task.name}' on synthetic data, 4-bit, rank 4")
        flags = {
            "model_name_or_path": BASE,
            "model_revision": base_commit,
            "output_dir": str(self.directory / task.name),
        }
        launch = Launch(
            recipe=task.recipe,
            flags=[part for name, value in flags.items() for part in (f"--{name}", value)],
        )
        self.say(f"$ {as_typed(launch.typed())}")
        begun = time.monotonic()
        code = launch.run(on_line=self._echo, environment=self.hub.environment)
        if code:
            raise _stopped(f"Fine-tuning for '{task.name}' failed.", code)
        (trained,) = read_manifest(self._adapter(task))["tasks"]
        scores = trained["evaluation"]
        return {
            "n": scores["rows"],
            "majority": scores["majority"],
            "base": scores["base"]["accuracy"],
            "tuned": scores["adapter"]["accuracy"],
            "base_f1": scores["base"]["weighted_f1"],
            "tuned_f1": scores["adapter"]["weighted_f1"],
            "seconds": round(time.monotonic() - begun, 1),
        }

    def push(self, task: DemoTask) -> dict[str, str]:
        """Publish the adapter; return repository and commit."""
        self.say(f"Publishing the adapter as {task.repo}")
        (done,) = self._command("push", str(self._adapter(task)), task.repo, "--format", "json")
        return {"repo": str(done["repo"]), "commit": str(done["commit"])}

    def predict(self, task: DemoTask, *, revision: str) -> list[dict[str, Any]]:
        """Load the adapter from the hub in a new process and ask it three sentences."""
        self.say(f"Loading {task.repo} from the hub in a new process")
        path = self.directory / task.name / "sentences.jsonl"
        write_text(path, "".join(json.dumps(row) + "\n" for row in task.sentences))
        answers = self._command(
            "predict", task.repo, "--revision", revision, "--file", str(path), "--format", "json"
        )
        return [{name: each[name] for name in ("input", "label", "score")} for each in answers]

    def _adapter(self, task: DemoTask) -> Path:
        return self.directory / task.name / "adapter"

    def _echo(self, line: str) -> None:
        if not self.quiet:
            tell(line)

    def _command(self, *arguments: str) -> list[dict[str, Any]]:
        """Run ``fin-qlora`` in the demo's environment; return the JSON objects that it prints."""
        self.say(f"$ fin-qlora {as_typed(arguments)}")
        printed: list[str] = []
        command = python_module("fin_qlora.cli", *arguments)
        code = run_program(command, environment=self.hub.environment, on_line=printed.append)
        if code:
            raise _stopped(f"`fin-qlora {arguments[0]}` failed.", code)
        return _objects("\n".join(printed))


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects that stand one after the other in ``text``."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        value, end = decoder.raw_decode(text, at)
        found.append(value)
        at = end + len(text[end:]) - len(text[end:].lstrip())
    return found


def _stopped(sentence: str, code: int) -> FinQloraError:
    """Return the error of a step whose program said the reason itself; its exit code is kept."""
    error = FinQloraError(sentence, fix="The reason stands above.")
    error.exit_code = code if code > 0 else 1
    return error
