"""Training speed and memory: plain TRL, the reference project's loop, and this trainer.

    python benchmarks/training.py [--quick] [--json FILE] [--part short|long] [--bases nf4 bf16]

Every side trains the same rows on the same random Llama of 22 million parameters, each in a process
of its own on one thread, so that peaks of memory are apart and speeds comparable:

- ``trl``: ``trl.SFTTrainer`` with its defaults;
- ``reference``: what the paper's code does: transformers' Trainer, rows padded to the longest,
  every logit computed, gradient checkpointing, ``prepare_model_for_kbit_training``;
- ``fin_qlora``: ``FinSFTTrainer`` with its defaults.

The rows are made up. ``short`` rows ask for the sentiment of news; the lengths of the news follow
Financial PhraseBank's. ``long`` rows hold 2,000 tokens of facts with a question each, as the rows
that are built from XBRL filings do; each has facts of its own. LoRA: rank 4, alpha 32, on q, k and
v, no dropout. Speed is over the last epoch, the optimizer included; loss is the mean of that epoch;
memory is the peak of the process during training less what it held before the first step.

With ``--json`` what was measured replaces its rows in FILE, and other rows stay, so that the parts
may be measured one by one.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from report import Row, report, table, write

from fin_qlora.models.base import Quantization

SIDES = ("trl", "reference", "fin_qlora")
BASES: dict[str, Quantization] = {"nf4": "4bit", "bf16": "none", "int8": "8bit"}
#: part -> (rows, epochs, batch); quick -> the same with fewer rows
PARTS = {"short": (160, 2, 8), "long": (8, 2, 8)}
QUICK = {"short": (24, 2, 8), "long": (2, 2, 2)}

#: Tokens of Financial PhraseBank's sentences: shares of the rows, and the lengths they stand at.
SENTENCES = ((0.0, 5), (0.05, 16), (0.25, 27), (0.5, 39), (0.75, 54), (0.95, 84), (1.0, 139))
LONG = 2000
LEARNING_RATE = 1e-3
SEED = 42


def make_base(folder: Path) -> None:
    """Write the random Llama with the embedded base's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from fin_qlora.models.base import load_tokenizer
    from fin_qlora.models.tiny import tiny_base_path

    torch.manual_seed(SEED)
    tokenizer = load_tokenizer(tiny_base_path())
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def news_rows(tokenizer: Any, count: int) -> list[dict[str, str]]:
    """Return labelled made-up news with as many tokens as Financial PhraseBank's sentences."""
    from fin_qlora.data.synthetic import sentiment_rows

    drawn = random.Random(SEED)
    news = sentiment_rows("train", 20 * count, SEED)
    rows = []
    for _ in range(count):
        share = drawn.random()
        (low, shortest), (high, longest) = next(
            pair for pair in itertools.pairwise(SENTENCES) if share <= pair[1][0]
        )
        wanted = round(shortest + (share - low) / (high - low) * (longest - shortest))
        first = drawn.choice(news)
        text = first["text"]
        while len(tokenizer(text)["input_ids"]) < wanted:
            text += " " + drawn.choice(news)["text"]
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:wanted]
        rows.append({"text": tokenizer.decode(ids).strip(), "label": first["label"]})
    return rows


def short_rows(tokenizer: Any, count: int) -> list[dict[str, list[int]]]:
    """Return encoded questions on made-up news as long as Financial PhraseBank's."""
    from fin_qlora import tasks

    contract = tasks.get("fpb").contract()
    examples = [
        contract.encode(tokenizer, row["text"], row["label"]) for row in news_rows(tokenizer, count)
    ]
    return [{"input_ids": one.input_ids, "labels": one.labels} for one in examples]


def long_rows(tokenizer: Any, count: int) -> list[dict[str, list[int]]]:
    """Return encoded questions, each on facts of its own, of about 2,000 tokens."""
    from fin_qlora import tasks

    drawn = random.Random(SEED)
    contract = tasks.get("xbrl_tag").contract()
    concepts = (
        "Assets Liabilities Goodwill Revenues NetIncomeLoss InventoryNet Cash Deposits".split()
    )
    rows = []
    for number in range(count):
        facts = ["c1: 2023-01-01/2023-12-31", "c2: 2023-12-31"]
        wanted = LONG - drawn.randrange(40)
        while len(tokenizer("\n".join(facts))["input_ids"]) < wanted - 120:
            kind = drawn.choice(concepts) + drawn.choice(["", "Current", "Noncurrent", "Other"])
            facts.append(f"us-gaap:{kind} c{drawn.randrange(1, 3)} USD {drawn.randrange(10**9)}")
        tag = drawn.choice(facts[2:]).split()[0]
        question = f"Under which tag does Company {number} report {drawn.randrange(10**6)}?"
        example = contract.encode(tokenizer, {"text": "\n".join(facts), "question": question}, tag)
        rows.append({"input_ids": example.input_ids, "labels": example.labels})
    return rows


def lora() -> Any:
    """Return the adapter that every side trains."""
    from peft import LoraConfig

    return LoraConfig(
        r=4,
        lora_alpha=32,
        lora_dropout=0.0,
        target_modules=["q_proj", "k_proj", "v_proj"],
        task_type="CAUSAL_LM",
    )


def settings(*, rows: int, epochs: int, batch: int, folder: str) -> dict[str, Any]:
    """Return what all sides are told; everything else is each side's default."""
    return {
        "output_dir": folder,
        "use_cpu": True,
        "bf16": True,
        "optim": "adamw_torch",
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "num_train_epochs": epochs,
        "per_device_train_batch_size": batch,
        "logging_steps": max(1, rows // batch),
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": SEED,
        "dataloader_pin_memory": False,
    }


def trl_side(model: Any, tokenizer: Any, rows: Any, given: dict[str, Any]) -> Any:
    """Return TRL's trainer as it comes."""
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        model=model,
        args=SFTConfig(**given, max_length=None),
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=lora(),
    )


def reference_side(model: Any, tokenizer: Any, rows: Any, given: dict[str, Any]) -> Any:
    """Return the loop of the paper's code: all logits, checkpointing, float32 norms and head."""
    from peft import get_peft_model, prepare_model_for_kbit_training
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    model.gradient_checkpointing_enable()
    model = prepare_model_for_kbit_training(model)
    model = get_peft_model(model, lora())
    model.config.use_cache = False
    return Trainer(
        model=model,
        args=TrainingArguments(**given, gradient_checkpointing=True),
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
    )


def our_side(model: Any, tokenizer: Any, rows: Any, given: dict[str, Any]) -> Any:
    """Return this project's trainer as it comes."""
    from fin_qlora import FinSFTConfig, FinSFTTrainer

    return FinSFTTrainer(
        model=model,
        args=FinSFTConfig(**given, max_length=None),
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=lora(),
    )


BUILD: dict[str, Callable[..., Any]] = {
    "trl": trl_side,
    "reference": reference_side,
    "fin_qlora": our_side,
}


def memory() -> dict[str, int]:
    """Return the memory that this process holds, and its peak since ``forget_peak``, in bytes."""
    fields = {}
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            fields[name] = 1024 * int(value.split()[0])
    return fields


def forget_peak() -> None:
    """Give freed memory back to the system, and let the peak begin at what is held now."""
    import gc

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", "utf-8")


def measure(side: str, part: str, base: str, *, folder: Path, quick: bool, threads: int) -> Any:
    """Train one side in this process and return its figures."""
    warnings.simplefilter("ignore")
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback

    from fin_qlora.models.base import load_model, load_tokenizer

    torch.set_num_threads(threads)
    count, epochs, batch = (QUICK if quick else PARTS)[part]
    tokenizer = load_tokenizer(folder)
    rows = (short_rows if part == "short" else long_rows)(tokenizer, count)
    model = load_model(folder, quantization=BASES[base])
    given = settings(
        rows=count, epochs=epochs, batch=batch, folder=str(folder / f"{side}-{part}-{base}")
    )
    trainer = BUILD[side](model, tokenizer, Dataset.from_list(rows), given)
    torch.set_num_threads(threads)
    starts: list[float] = []

    class Clock(TrainerCallback):
        """Notes when each epoch begins and when training ends."""

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            starts.append(time.perf_counter())

        def on_train_end(self, *_: Any, **__: Any) -> None:
            starts.append(time.perf_counter())

    trainer.add_callback(Clock)
    forget_peak()
    before = memory()["VmRSS"]
    trainer.train()
    seconds = starts[-1] - starts[-2]
    tokens = sum(len(row["input_ids"]) for row in rows)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "examples/s": count / seconds,
        "tokens/s": tokens / seconds,
        "peak memory over the loaded model": (memory()["VmHWM"] - before) / 2**20,
        "loss in the last epoch": losses[-1],
        "mean tokens": tokens / count,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


UNITS = {
    "examples/s": "examples/s",
    "tokens/s": "tokens/s",
    "peak memory over the loaded model": "MiB",
    "loss in the last epoch": "nats/token",
}


def in_process(side: str, part: str, base: str, *, folder: Path, flags: Iterable[str]) -> Any:
    """Measure one side in a process of its own."""
    command = [
        *(sys.executable, __file__, "--one", side, "--part", part, "--bases", base),
        *("--base_dir", str(folder), *flags),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{side} {part} {base} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """Return how this trainer stands to the others, for each part and base that was measured."""
    values = {(row.side, row.figure): row.measured for row in rows if row.value is not None}
    result = {}
    for side, figure in values:
        name, _, rest = side.partition(", ")
        ours = values.get((f"fin_qlora, {rest}", figure))
        if name == "fin_qlora" or ours is None or figure not in UNITS:
            continue
        if figure == "examples/s" or "memory" in figure:
            kind = "speed" if figure == "examples/s" else "memory"
            result[f"{kind} over {name}, {rest}"] = round(ours / values[side, figure], 2)
    return result


def main() -> None:
    """Measure, print the table and, where asked, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few rows: proves that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this; may be repeated")
    parser.add_argument("--bases", choices=BASES, nargs="+", default=["nf4", "bf16"])
    parser.add_argument("--sides", choices=SIDES, nargs="+", default=SIDES)
    parser.add_argument("--threads", type=int, default=1, help="of each side")
    parser.add_argument("--one", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--base_dir", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    parts = given.part or list(PARTS)
    if given.one:
        figures = measure(
            given.one,
            parts[0],
            given.bases[0],
            folder=given.base_dir,
            quick=given.quick,
            threads=given.threads,
        )
        print(json.dumps(figures))
        return
    flags = ["--threads", str(given.threads), *(["--quick"] if given.quick else [])]
    measured: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_base(folder)
        for part in parts:
            for base in given.bases:
                for side in given.sides:
                    figures = in_process(side, part, base, folder=folder, flags=flags)
                    measured += [
                        Row(f"{side}, {base}, {part} rows", figure, unit, round(figures[figure], 3))
                        for figure, unit in UNITS.items()
                    ]
    rows = [*kept(given.json, measured), *measured]
    print(table(measured))
    for name, value in ratios(rows).items():
        print(f"{name}: {value}")
    if given.json and not given.quick:
        packages = ("fin-qlora", "torch", "transformers", "trl", "peft", "bitsandbytes")
        finished = report("training", rows, packages=packages, seed=SEED, ratios=ratios(rows))
        finished["command"] = "python benchmarks/training.py --json FILE"
        finished["threads"] = given.threads
        write(given.json, finished)


def kept(path: Path | None, measured: Sequence[Row]) -> list[Row]:
    """Return the rows of an earlier report that were not measured again."""
    if path is None or not path.is_file():
        return []
    new = {(row.side, row.figure) for row in measured}
    old = [Row(**row) for row in json.loads(path.read_text("utf-8"))["rows"]]
    return [row for row in old if (row.side, row.figure) not in new]


if __name__ == "__main__":
    main()
