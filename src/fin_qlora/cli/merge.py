"""``fin-qlora merge``: an adapter and its base as one model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import UsageError
from .output import HUMAN, OutputOption, table

if TYPE_CHECKING:
    from ..inference.merging.merge import Merged


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("merge", short_help="Write an adapter into its base, as one model.")(merge)


def merge(
    adapter: Annotated[
        str, typer.Argument(metavar="ADAPTER", help="A folder, or ORG/NAME on your hub.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the new model.")],
    base: Annotated[
        str | None,
        typer.Option(help="Take the base from there: a folder or ORG/NAME; weights must agree."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of ADAPTER.")] = None,
    dtype: Annotated[
        Literal["bfloat16", "float16", "float32"], typer.Option(help="Type of the weights.")
    ] = "bfloat16",
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Relative difference of logits that is kept; 0.05."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace DIR whatever it holds.")] = False,
    gguf: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also as one GGUF file, by llama.cpp's converter."),
    ] = None,
    gguf_type: Annotated[
        Literal["bf16", "f16", "f32", "q8_0"] | None,
        typer.Option(help="Type of the weights in it; bf16."),
    ] = None,
    converter: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="llama.cpp's convert_hf_to_gguf.py; else FIN_QLORA_GGUF_CONVERTER or the PATH.",
        ),
    ] = None,
    output: OutputOption = HUMAN,
) -> None:
    """Add an adapter to its 16-bit base; the sum is kept only if it answers as the adapter does."""
    for option, given in (("--converter", converter), ("--gguf-type", gguf_type)):
        if given and not gguf:
            raise UsageError(f"{option} is for --gguf.", fix="Give --gguf FILE, or leave it out.")
    if gguf and gguf.is_dir():
        raise UsageError(f"'{gguf}' is a folder.", fix="Name the GGUF file that is to be written.")
    from ..inference.merging import gguf as to_gguf
    from ..inference.merging import merge as merging

    program = to_gguf.find_converter(converter) if gguf else None
    output.note(f"Merging {adapter}")
    done = merging.merge_adapter(
        adapter,
        out,
        revision=revision,
        base=base,
        dtype=dtype,
        tolerance=merging.TOLERANCE if tolerance is None else tolerance,
        replace=force,
    )
    if gguf and program:
        output.note(f"Converting by {program}")
        to_gguf.write_gguf(out, gguf, converter=program, kind=gguf_type or "bf16")
    files = {"folder": str(out), **({"gguf": str(gguf)} if gguf else {})}
    output.result(
        {**files, **done.evidence},
        human="\n".join([_drifts(done), "", *(f"Wrote {file}" for file in files.values())]),
        quiet="\n".join(files.values()),
    )


def _drifts(done: Merged) -> str:
    rows = [("the adapter on the 16-bit base", done.drift)]
    if done.quantised:
        rows.append((f"the adapter on the base in {done.evidence['trained_in']}", done.quantised))
    shown = [
        (
            what,
            f"{one.logits:.2%}",
            "-" if one.probability is None else f"{one.probability:.4f}",
            f"{one.turned} of {one.canaries}",
        )
        for what, one in rows
    ]
    columns = ("COMPARED WITH", "LOGITS OFF BY", "PROBABILITY OFF BY", "OTHER NEXT TOKEN")
    return table(columns, shown)
