"""The options that ``data show`` and ``data stats`` share, and the rows that they name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..models.tiny import TINY_ID
from ..prompts import Form
from ..tasks import Split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..data.encode import EncodedRows
    from ..prompts import PromptContract

TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help="A name that `tasks ls` shows, or a task's file.")
]
DataDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of raw or prepared files; none for made-up tasks."),
]
SplitName = Annotated[Split, typer.Option(help="Rows of which split.")]
Base = Annotated[
    str, typer.Option(metavar="NAME_OR_FOLDER", help="The base whose tokenizer counts.")
]
FormName = Annotated[Form, typer.Option(help="Layout of the prompt.")]
Shots = Annotated[int, typer.Option(min=0, help="Worked examples, drawn from the train rows.")]
ShortenTo = Annotated[
    int | None,
    typer.Option(metavar="TOKENS", min=1, help="Shorten longer rows to this many tokens."),
]


@dataclass(frozen=True, kw_only=True)
class EncodedSplit:
    """The rows of a split as one base would be trained on them."""

    rows: list[dict[str, Any]]
    encoded: EncodedRows
    contract: PromptContract
    tokenizer: PreTrainedTokenizerBase
    base: str


def encoded_split(
    name: str,
    *,
    split: Split,
    data_dir: Path | None,
    base: str,
    form: Form,
    shots: int = 0,
    shorten_to: int | None = None,
) -> EncodedSplit:
    """Read, ask and encode the rows of a split as training would."""
    from ..data.encode import encode_rows
    from ..data.encode_cache import EncodedCache
    from ..data.table import read_split
    from ..models.base import load_tokenizer, locate_base
    from ..prompts import choose_shots, without_shots
    from ..tasks import get

    task = get(name)
    rows = read_split(task, split, data_dir=data_dir).rows
    contract = task.contract(form)
    if shots:
        train = rows if split == "train" else read_split(task, "train", data_dir=data_dir).rows
        chosen = choose_shots(contract, train, count=shots, seed=0)
        contract = replace(contract, shots=chosen)
        rows = without_shots(contract, rows)
    if shorten_to is not None:
        contract = replace(contract, shorten_to=shorten_to)
    folder, identity = locate_base(base)
    tokenizer = load_tokenizer(folder)
    encoded = encode_rows(
        rows, contract=contract, tokenizer=tokenizer, max_length=None, cache=EncodedCache()
    )
    return EncodedSplit(
        rows=rows, encoded=encoded, contract=contract, tokenizer=tokenizer, base=identity.id
    )


#: The base that is used where none is named.
DEFAULT_BASE = TINY_ID
