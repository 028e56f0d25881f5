"""A merged model as one GGUF file, by llama.cpp's own converter where that is installed."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from ...errors import EnvironmentFault, MissingDependencyError, MissingFileError, UnknownNameError

#: Names the converter where it is not on the PATH.
VARIABLE = "FIN_QLORA_GGUF_CONVERTER"

_SCRIPT = "convert_hf_to_gguf.py"

#: How the converter may store weights; further quantising is llama.cpp's own business.
TYPES = ("bf16", "f16", "f32", "q8_0")


def find_converter(named: Path | None = None) -> Path:
    """Return llama.cpp's converter: as named, else by FIN_QLORA_GGUF_CONVERTER, else on the PATH.

    Raises:
        MissingFileError: what is named does not exist.
        MissingDependencyError: it is not installed.
    """
    given = str(named or "") or os.environ.get(VARIABLE, "").strip()
    if given:
        path = Path(given).expanduser()
        if path.is_dir():
            path = path / _SCRIPT
        if not path.is_file():
            raise MissingFileError(
                f"There is no converter '{path}'.", fix=f"Name llama.cpp's {_SCRIPT}."
            )
        return path
    found = shutil.which(_SCRIPT)
    if found is None:
        raise MissingDependencyError(
            f"llama.cpp's converter {_SCRIPT} is not on the PATH.",
            fix="Take it from llama.cpp's own repository with the packages of its "
            "requirements/requirements-convert_hf_to_gguf.txt, and name it by --converter or "
            f"{VARIABLE}.",
        )
    return Path(found)


def write_gguf(model: Path, file: Path, *, converter: Path, kind: str = "bf16") -> None:
    """Convert a merged model's folder to one GGUF file, whole or not at all.

    Args:
        converter: what ``find_converter`` returned; run by its own first line where it is
            executable, else by this Python.
        kind: one of ``TYPES``.

    Raises:
        UnknownNameError: there is no such kind.
        EnvironmentFault: the converter failed, or left no GGUF file.
    """
    if kind not in TYPES:
        raise UnknownNameError("type of GGUF weights", kind, TYPES)
    file = Path(os.path.abspath(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    program = (
        [str(converter)] if os.access(converter, os.X_OK) else [sys.executable, str(converter)]
    )
    try:
        done = subprocess.run(
            [*program, str(model), "--outfile", str(beside), "--outtype", kind],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        said = done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["nothing"]
        if done.returncode:
            raise EnvironmentFault(
                f"'{converter}' ended with code {done.returncode}; it said last: {said[-1]}",
                fix="See that its packages are installed and that it knows this architecture.",
            )
        if not _is_gguf(beside):
            raise EnvironmentFault(
                f"'{converter}' left no GGUF file; it said last: {said[-1]}",
                fix=f"Name llama.cpp's own {_SCRIPT}.",
            )
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)


def _is_gguf(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(4) == b"GGUF"
