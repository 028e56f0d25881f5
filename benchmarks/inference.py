"""Answers to short questions on a processor: label scoring, loading an adapter, pipeline stages.

    python benchmarks/inference.py [--quick] [--json FILE] [--parts A,B] [--rounds N]

Everything runs on one thread a process. Parts:

- ``scoring``: three labels of made-up news, prompts as long as Financial PhraseBank's, on the
  random Llama of 22 million parameters of training.py in bfloat16. So that it has answers, which
  rounding does not decide, labels are what it tells apart best, and its head alone is fitted to
  them first. Sides:

  - ``a pass a label``: one forward pass of prompt and label for each label, all logits computed;
  - ``generate``: transformers' ``generate``, greedy, with the contract's stop tokens;
  - ``without the cache``: this project's label scoring, each prompt read whole;
  - ``fin_qlora``: the same as it comes, what all prompts begin with read once;
  - ``fin_qlora, written``: this project's generation as it comes.

  Rows are sorted by length on all sides, tokenising is included, and each of the first two sides
  counts in the better of batches of 8 and of 32 rows. All must find the same label on every row.
- ``loading``: ``load_adapter`` of an adapter that is trained here for a few steps on the tiny base
  and, without --quick, on that Llama, against loading base, tokenizer and
  ``PeftModel.from_pretrained``; 4 bits. The canary's time is that of ``verify=True`` less that of
  ``verify=False``.
- ``pipeline``: two stages of 4 micro-batches against one process (pipeline_processes.py); it needs
  two free processors.

The sides of a part are measured in turns; a figure is the median of the rounds. With ``--json``
what was measured replaces its rows in FILE, and other rows stay.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from report import CHECKOUT, Row, report, table, write

PARTS = ("scoring", "loading", "pipeline")
SEED = 42
BATCHES = (8, 32)
NAIVE, GENERATE = "a pass a label", "generate"
WITHOUT, OURS, WRITTEN = "without the cache", "fin_qlora", "fin_qlora, written"
PLAIN, LOADED, VERIFIED = "PeftModel.from_pretrained", "load_adapter, verify=False", "load_adapter"
PACKAGES = ("fin-qlora", "torch", "transformers", "peft", "bitsandbytes")
RECIPE = "classification/demo-sentiment-tiny-4bit-r4"


# ------------------------------------------------------------------------------------- the rows


def clear_rows(
    model: Any, contract: Any, tokenizer: Any, rows: Sequence[dict[str, str]]
) -> list[dict[str, str]]:
    """Return the half of the rows that the random model tells apart best, with labels of its own.

    What it has read lies in a plane, of the two directions in which rows differ most; each label
    is a sector there. Rows near a border, where rounding would decide, are left out.
    """
    import torch

    states = []
    with torch.no_grad():
        for prompt in contract.prompts(tokenizer, rows):
            found = model.model(input_ids=torch.tensor([prompt])).last_hidden_state
            states.append(found[0, -1].float())
    seen = torch.stack(states)
    plane = torch.linalg.svd(seen - seen.mean(0), full_matrices=False)[0][:, :2]
    turns = torch.atan2(plane[:, 1], plane[:, 0]) / (2 * torch.pi) + 0.5
    sectors = turns * len(contract.labels)
    # how far from the nearer border of its sector, and from where all sectors meet
    clear = (0.5 - (sectors - sectors.floor() - 0.5).abs()) * plane.norm(dim=1)
    best = sorted(clear.argsort(descending=True)[: len(rows) // 2].tolist())
    labels = sectors.long().clamp(max=len(contract.labels) - 1).tolist()
    return [{**rows[row], "label": contract.labels[labels[row]]} for row in best]


def fit_head(model: Any, contract: Any, tokenizer: Any, rows: Sequence[dict[str, str]]) -> None:
    """Fit the head, and nothing else, to the labels of the rows and the end behind them."""
    import torch

    prompts = contract.prompts(tokenizer, rows)
    answers = contract.answers(tokenizer, [row["label"] for row in rows])
    states, targets = [], []
    with torch.no_grad():
        for prompt, answer in zip(prompts, answers, strict=True):
            ids = torch.tensor([prompt + answer[:-1]])
            states.append(model.model(input_ids=ids).last_hidden_state[0, -len(answer) :].float())
            targets += answer
    seen, wanted = torch.cat(states), torch.tensor(targets)
    head = model.lm_head.weight.detach().float().requires_grad_()
    optimizer = torch.optim.Adam([head], lr=0.03)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(seen @ head.T, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        model.lm_head.weight.copy_(head)


# ------------------------------------------------------------------------------------- the sides


@dataclass(frozen=True, kw_only=True)
class Question:
    """What all sides are asked: rows under a contract, of one model."""

    model: Any
    tokenizer: Any
    contract: Any
    rows: Sequence[dict[str, str]]

    def batches(self, size: int) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Yield indices and prompts of rows of like length."""
        prompts = self.contract.prompts(self.tokenizer, self.rows)
        order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield rows, [prompts[row] for row in rows]

    def a_pass_a_label(self, size: int) -> list[str]:
        """Read each label behind each prompt, padded right, and compare the sums."""
        import torch

        labels = self.contract.labels
        answers = self.contract.answers(self.tokenizer, labels)
        found = [""] * len(self.rows)
        for rows, prompts in self.batches(size):
            columns = []
            for answer in answers:
                lengths = torch.tensor([len(prompt) for prompt in prompts])
                width = int(lengths.max()) + len(answer)
                ids = torch.zeros(len(rows), width, dtype=torch.long)
                for place, prompt in enumerate(prompts):
                    ids[place, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
                mask = torch.arange(width) < (lengths + len(answer))[:, None]
                with torch.no_grad():
                    logits = self.model(input_ids=ids, attention_mask=mask.long()).logits
                at = lengths[:, None] - 1 + torch.arange(len(answer))
                picked = logits[torch.arange(len(rows))[:, None], at].float().log_softmax(-1)
                wanted = torch.tensor(answer).expand(len(rows), -1)
                columns.append(picked.gather(-1, wanted[..., None]).sum((1, 2)))
            best = torch.stack(columns, 1).argmax(1).tolist()
            for row, label in zip(rows, best, strict=True):
                found[row] = labels[label]
        return found

    def generated(self, size: int) -> list[str]:
        """Let transformers write the answers, and read them."""
        import torch

        from fin_qlora.inference.reading.padding import left_padded

        stops = list(self.contract.stop_tokens(self.tokenizer))
        room = self.contract.answer_room(self.tokenizer)
        found = [""] * len(self.rows)
        for rows, prompts in self.batches(size):
            ids, real = left_padded(prompts)
            with torch.no_grad():
                written = self.model.generate(
                    input_ids=ids,
                    attention_mask=real.long(),
                    max_new_tokens=room,
                    do_sample=False,
                    eos_token_id=stops,
                    pad_token_id=self.tokenizer.pad_token_id,
                )
            for row, one in zip(rows, written[:, ids.shape[1] :].tolist(), strict=True):
                found[row] = str(self.contract.decode(self.tokenizer, one))
        return found

    def scored(self, *, cache: bool) -> list[str]:
        """Score the labels as this project does."""
        from fin_qlora.inference.reading import beginning
        from fin_qlora.inference.scoring import label_log_likelihoods

        least = beginning.TOKENS
        beginning.TOKENS = least if cache else sys.maxsize
        try:
            found = label_log_likelihoods(self.model, self.tokenizer, self.contract, self.rows)
        finally:
            beginning.TOKENS = least
        return [max(one, key=one.__getitem__) for one in found]

    def written(self) -> list[str]:
        """Let this project write the answers."""
        from fin_qlora.inference.generation import generate_answers

        found = generate_answers(self.model, self.tokenizer, self.contract, self.rows)
        return [one.text for one in found]


def scoring(folder: Path, *, quick: bool, rounds: int) -> list[Row]:
    """Measure the sides of label scoring in turns. Raises RuntimeError where they do not agree."""
    from training import make_base, news_rows

    from fin_qlora import tasks
    from fin_qlora.models.base import load_model, load_tokenizer

    make_base(folder)
    tokenizer, model = load_tokenizer(folder), load_model(folder, quantization="none").eval()
    model.generation_config.eos_token_id = None
    contract = tasks.get("fpb").contract()
    rows = clear_rows(model, contract, tokenizer, news_rows(tokenizer, 32 if quick else 256))
    fit_head(model, contract, tokenizer, rows)
    question = Question(model=model, tokenizer=tokenizer, contract=contract, rows=rows)
    sides: dict[str, list[Callable[[], list[str]]]] = {
        NAIVE: [partial(question.a_pass_a_label, size) for size in BATCHES],
        GENERATE: [partial(question.generated, size) for size in BATCHES],
        WITHOUT: [lambda: question.scored(cache=False)],
        OURS: [lambda: question.scored(cache=True)],
        WRITTEN: [question.written],
    }
    seconds: dict[tuple[str, int], list[float]] = {}
    answers: dict[str, list[str]] = {}
    for number in range(rounds + 1):  # the first does not count
        for side, ways in sides.items():
            for way, ask in enumerate(ways):
                before = time.perf_counter()
                answers[side] = ask()
                if number:
                    seconds.setdefault((side, way), []).append(time.perf_counter() - before)
                _check_alike(answers)
    rates = {
        side: len(question.rows)
        / min(statistics.median(each) for (one, _), each in seconds.items() if one == side)
        for side in sides
    }
    right = sum(one == row["label"] for one, row in zip(answers[OURS], question.rows, strict=True))
    return [
        *(Row(f"scoring, {side}", "rows", "rows/s", round(rates[side], 2)) for side in sides),
        Row("scoring, all sides", "rows with the same label", "rows", len(question.rows)),
        Row("scoring, all sides", "rows answered as the head was fitted to", "rows", right),
    ]


def _check_alike(answers: dict[str, list[str]]) -> None:
    first, *others = answers.items()
    for side, found in others:
        for row, (one, other) in enumerate(zip(first[1], found, strict=True)):
            if one != other:
                raise RuntimeError(f"Row {row}: '{first[0]}' finds {one!r}, '{side}' {other!r}.")


# ----------------------------------------------------------------------------------- the adapter


def trained(folder: Path, *, base: Path | None, steps: int) -> Path:
    """Train an adapter for a few steps by the recipe, and return its folder."""
    command = [sys.executable, "-m", "fin_qlora.recipes.classification", "--config", RECIPE]
    command += ["--max_steps", str(steps), "--output_dir", str(folder)]
    if base is not None:
        command += ["--model_name_or_path", str(base)]
    _run(command, what="training the adapter")
    return folder / "adapter"


def loading(folder: Path, *, quick: bool, rounds: int) -> list[Row]:
    """Measure how long adapters take to load."""
    from training import make_base

    from fin_qlora.models.tiny import tiny_base_path

    bases: list[tuple[str, Path | None]] = [("tiny base", None)]
    if not quick:
        make_base(folder / "base")
        bases.append(("22M", folder / "base"))
    rows = []
    for name, base in bases:
        adapter = trained(folder / f"run {name}", base=base, steps=2 if quick else 20)
        seconds = _loaded(adapter, base or tiny_base_path(), rounds=rounds)
        rows += [
            Row(f"loading, {name}, {side}", "time", "s", round(value, 4))
            for side, value in seconds.items()
        ]
        canary = seconds[VERIFIED] - seconds[LOADED]
        rows.append(Row(f"loading, {name}, one canary", "time", "s", round(canary, 4)))
    return rows


def _loaded(adapter: Path, base: Path, *, rounds: int) -> dict[str, float]:
    from peft import PeftModel

    from fin_qlora.inference import load_adapter
    from fin_qlora.models.base import load_model, load_tokenizer

    def plain() -> Any:
        model = PeftModel.from_pretrained(load_model(base, quantization="4bit"), str(adapter))
        return model, load_tokenizer(adapter)

    sides: dict[str, Callable[[], Any]] = {
        PLAIN: plain,
        LOADED: lambda: load_adapter(adapter, verify=False),
        VERIFIED: lambda: load_adapter(adapter),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 1):  # the first does not count
        for side, load in sides.items():
            before = time.perf_counter()
            load()
            if number:
                seconds[side].append(time.perf_counter() - before)
    return {side: statistics.median(each) for side, each in seconds.items()}


# ------------------------------------------------------------------------------------ the stages


def pipeline(folder: Path, *, quick: bool, rounds: int) -> list[Row]:
    """Measure two stages against one process, each in processes of their own."""
    file = folder / "pipeline.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0"]
    command += [str(CHECKOUT / "benchmarks" / "pipeline_processes.py")]
    command += ["--json", str(file), "--rounds", str(1 if quick else rounds)]
    _run(command, what="the pipeline")
    found = json.loads(file.read_text("utf-8"))["rows"]
    return [Row(**(row | {"side": f"pipeline, {row['side']}"})) for row in found]


def _run(command: Sequence[str], *, what: str) -> None:
    paths = [str(CHECKOUT / "src"), str(CHECKOUT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{what} failed:\n{(done.stdout + done.stderr)[-3000:]}")


# ------------------------------------------------------------------------------------ all of them


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """Return the figures that are to be reached, of what was measured."""
    values = {row.side: row.value for row in rows if row.unit in ("rows/s", "s")}
    found = {}
    for over in (NAIVE, GENERATE):
        for side in (WITHOUT, OURS, WRITTEN):
            found[f"speed, {side} over {over}"] = (f"scoring, {side}", f"scoring, {over}")
    for base in ("tiny base", "22M"):
        for side in (LOADED, VERIFIED):
            one, two = f"loading, {base}, {side}", f"loading, {base}, {PLAIN}"
            found[f"time, {base}, {side} over {PLAIN}"] = (one, two)
    found["speed, two stages over one process"] = (
        "pipeline, two stages",
        "pipeline, one process",
    )
    return {
        name: round(first / second, 3)
        for name, (one, two) in found.items()
        if (first := values.get(one)) and (second := values.get(two))
    }


MEASURE: dict[str, Callable[..., list[Row]]] = {
    "scoring": scoring,
    "loading": loading,
    "pipeline": pipeline,
}


def main() -> None:
    """Measure, print the table and, where asked, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few rows: proves that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=3, help="times that each side is measured")
    given = parser.parse_args()
    parts = [part for part in given.parts.split(",") if part]
    if wrong := [part for part in parts if part not in PARTS]:
        parser.error(f"there is no '{wrong[0]}'; known: {', '.join(PARTS)}")
    warnings.simplefilter("ignore")
    from fin_qlora.offline import quiet_environment

    quiet_environment()
    import torch
    from training import kept

    torch.set_num_threads(1)
    measured: list[Row] = []
    for part in parts:
        with tempfile.TemporaryDirectory() as name:
            measured += MEASURE[part](
                Path(name), quick=given.quick, rounds=1 if given.quick else given.rounds
            )
    print(table(measured))
    for name, value in ratios(measured).items():
        print(f"{name}: {value}")
    if given.json:
        rows = [*kept(given.json, measured), *measured]
        finished = report("inference", rows, packages=PACKAGES, seed=SEED, ratios=ratios(rows))
        finished["command"] = "python benchmarks/inference.py --json FILE"
        finished["threads"] = 1
        write(given.json, finished)


if __name__ == "__main__":
    main()
