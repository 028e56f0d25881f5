"""Makes the embedded tiny base anew: corpus, tokenizer, weights, figures and card.

python -m fin_qlora.models.tiny.make --data_dir DATA --out DIR
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import random
from pathlib import Path
from typing import Any

from ...files import directory_in_place, write_json, write_text
from .vocabulary import VOCABULARY_SIZE

SEED = 20261120
STEPS = 2000
SHAPE = {
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 704,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
    "rope_theta": 10000.0,
}


def make(
    *, data_dir: Path, out: Path, steps: int = STEPS, seed: int = SEED, threads: int = 1
) -> None:
    """Train the tiny base on the allowed text below `data_dir` and write it to `out`.

    The same seed, thread count and versions give the same weights up to rounding. A step takes
    about a second on one core of a server processor.
    """
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    from .card import card
    from .corpus import read_corpus
    from .market import headline
    from .perplexity import Counts, measure
    from .pretraining import Plan, pretrain
    from .rows import MIXTURE, RowMaker
    from .vocabulary import END, PADDING, TURN_END, train_tokenizer

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    corpus = read_corpus(data_dir)
    running = [
        *corpus.tweets,
        *(" ".join(paragraph) for paragraph in corpus.paragraphs),
        *(f"{definition.term}: {definition.text}" for definition in corpus.definitions),
        *corpus.questions,
    ]
    invented = random.Random(seed)
    tokenizer = train_tokenizer(
        [*running, *corpus.tweets, *(headline(invented).text for _ in range(4000))]
    )
    begin, end, turn_end, padding = tokenizer.convert_tokens_to_ids(
        [tokenizer.bos_token, END, TURN_END, PADDING]
    )
    model = LlamaForCausalLM(
        LlamaConfig(
            **SHAPE,
            bos_token_id=begin,
            eos_token_id=[end, turn_end],
            pad_token_id=padding,
            attn_implementation="eager",
        )
    )
    maker = RowMaker(tokenizer, corpus, seed)
    plan = Plan(steps=steps)
    outcome = pretrain(model, maker, plan, padding=padding)
    model = model.to(torch.bfloat16)
    counts = Counts([maker.text(text) for text in running], VOCABULARY_SIZE)
    record: dict[str, Any] = {
        "seed": seed,
        "threads": threads,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "shape": SHAPE,
        "plan": dataclasses.asdict(plan),
        "mixture": MIXTURE,
        "corpus": corpus.counts,
        "outcome": {name: round(value, 4) for name, value in dataclasses.asdict(outcome).items()},
        "perplexity": {
            source: measure(model, maker, texts, counts).to_dict()
            for source, texts in corpus.held_out.items()
        },
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("torch", "transformers", "tokenizers")
        },
    }
    with directory_in_place(out) as folder:
        model.generation_config = GenerationConfig(
            bos_token_id=begin, eos_token_id=[end, turn_end], pad_token_id=padding
        )
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / "training.json", record)
        write_text(folder / "README.md", card(record))
        (folder / "model.safetensors").chmod(0o644)


def main() -> None:
    """Read the command line and make the model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--data_dir", "--data-dir", type=Path, required=True, help="the public data sets"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--steps", type=int, default=STEPS, help="optimizer steps (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    make(
        data_dir=arguments.data_dir,
        out=arguments.out,
        steps=arguments.steps,
        seed=arguments.seed,
        threads=arguments.threads,
    )


if __name__ == "__main__":
    main()
