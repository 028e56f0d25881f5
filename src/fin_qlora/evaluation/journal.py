"""What is done of an evaluation, on disk after every batch, so that a stop loses one at most."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CheckpointMismatchError, DataError, FinQloraError, UsageError
from ..files import disk_full_is_an_error

JOURNAL = "journal"


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a model gave for one row, as JSON values, and the row's share of its batch's seconds."""

    result: Any
    seconds: float


class Journal:
    """An append-only file of finished rows for each process, one line a batch.

    The first line says of which evaluation they are. Opening it reads what all processes of an
    earlier start have left; a line that a kill tore is cut off.

    Args:
        folder: where the files lie; made when the first row is kept.
        name: what is asked, such as ``tfns.likelihood``.
        identity: setting -> value, JSON values; rows of another evaluation are refused.
        rank: this process's number; it appends to its own file alone.

    Raises:
        CheckpointMismatchError: the rows are of another evaluation; the setting is named.
        DataError: a whole line cannot be read.
    """

    def __init__(
        self, folder: Path, *, name: str, identity: Mapping[str, Any], rank: int = 0
    ) -> None:
        self._path = folder / f"{name}.{rank}.jsonl"
        self._identity = dict(identity)
        self._stream: BinaryIO | None = None
        self.done: dict[int, Done] = {}
        for path in sorted(folder.glob(f"{name}.*.jsonl")):
            self._read(path)

    def add(self, rows: Sequence[int], results: Sequence[Any], *, seconds: float) -> None:
        """Keep a batch for good.

        Args:
            rows: their places in the data.
            results: JSON values, one a row.
            seconds: that the whole batch took.
        """
        if self._stream is None:
            self._stream = self._opened()
        share = seconds / len(rows)
        self._write({"rows": list(rows), "results": list(results), "seconds": share})
        for row, result in zip(rows, results, strict=True):
            self.done[row] = Done(result=result, seconds=share)

    def close(self) -> None:
        """Let the file go; further rows open it again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _opened(self) -> BinaryIO:
        """Open this process's file behind its last whole line."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        stream = self._path.open("ab")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.close()
            raise UsageError(
                f"Another evaluation is writing '{self._path}'.",
                fix="Wait for it, or choose another --out.",
            ) from None
        try:
            self._read(self._path)  # another evaluation may have written since this one began
        except FinQloraError:
            stream.close()
            raise
        whole = self._path.read_bytes().rfind(b"\n") + 1
        stream.truncate(whole)
        if not whole:
            self._stream = stream
            self._write({"identity": self._identity})
        return stream

    def _write(self, value: Mapping[str, Any]) -> None:
        stream = self._stream
        assert stream is not None  # opened before anything is written
        with disk_full_is_an_error(self._path):
            stream.write(json.dumps(value).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _read(self, path: Path) -> None:
        content = path.read_bytes()
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        try:
            values = [json.loads(line) for line in lines]
            if values:
                check_identity(values[0]["identity"], self._identity, place=path.parent.parent)
            for value in values[1:]:
                for row, result in zip(value["rows"], value["results"], strict=True):
                    self.done[row] = Done(result=result, seconds=value["seconds"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"'{path}' is damaged: {type(error).__name__}: {error}.",
                fix="Start again with --restart, which forgets the rows that were finished.",
            ) from error


def check_identity(found: Mapping[str, Any], asked: Mapping[str, Any], *, place: Path) -> None:
    """Raise CheckpointMismatchError that names the first setting in which they differ."""
    for name in dict.fromkeys([*asked, *found]):
        before, now = found.get(name), asked.get(name)
        if before != now:
            raise CheckpointMismatchError(
                f"'{place}' holds rows of another evaluation: {name} was {_shown(before)}, and is "
                f"{_shown(now)} now.",
                fix="Choose another --out, or pass --restart to replace them.",
            )


def _shown(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
