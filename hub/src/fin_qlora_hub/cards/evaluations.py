"""Results of evaluations that a model tells of: the files `.eval_results/*.yaml`.

Each is a list of entries: the data set and its task, the value, and how it came about.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fin_qlora_hub.cards.plainyaml import YamlError, read_yaml
from fin_qlora_hub.text import Text, shortened

FOLDER = ".eval_results/"
MAX_FILES = 50
MAX_FILE_BYTES = 64 * 1024
MAX_ENTRIES = 200
_PATH = re.compile(r"\.eval_results/[^/]+\.ya?ml")
_Short = Annotated[Text, StringConstraints(min_length=1, max_length=255)]
_Long = Annotated[Text, StringConstraints(max_length=4096)]


class _Dataset(BaseModel):
    id: Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,96}/[\w.-]{1,96}$")]
    task_id: _Short
    revision: _Short | None = None


class _Source(BaseModel):
    url: _Long
    name: _Short | None = None
    user: _Short | None = None
    org: _Short | None = None


class _Entry(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    dataset: _Dataset
    value: Annotated[float, Field(allow_inf_nan=False, strict=True)] | _Long
    verify_token: _Long | None = Field(default=None, alias="verifyToken")
    date: _Short | None = None
    source: _Source | None = None
    notes: _Long | None = None


@dataclass(frozen=True)
class FileResults:
    """What one file holds, or what is wrong with it."""

    filename: str
    entries: tuple[dict[str, Any], ...] = ()
    error: str | None = None

    def shown(self) -> Iterator[dict[str, Any]]:
        """Yield what information about the model shows of it."""
        if self.error is not None:
            yield {"filename": self.filename, "error": self.error}
        for entry in self.entries:
            yield {"filename": self.filename, "data": entry}


def is_result_file(path: str) -> bool:
    """Say whether results may stand in a file of this path."""
    return _PATH.fullmatch(path) is not None


def read_results(filename: str, content: bytes) -> FileResults:
    """Read a file; one with any fault counts for nothing but its fault."""
    if len(content) > MAX_FILE_BYTES:
        return FileResults(filename, error=f"has more than {MAX_FILE_BYTES:,} bytes.")
    try:
        found = read_yaml(content.decode("utf-8"))
    except UnicodeDecodeError:
        return FileResults(filename, error="is not text in UTF-8.")
    except YamlError as error:
        return FileResults(filename, error=str(error))
    if not isinstance(found, list) or len(found) > MAX_ENTRIES:
        return FileResults(filename, error=f"must be a list of at most {MAX_ENTRIES} entries.")
    entries = []
    for number, one in enumerate(found):
        try:
            entry = _Entry.model_validate(one)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, (number, *first["loc"])))
            return FileResults(filename, error=shortened(f"{place}: {first['msg']}", limit=300))
        entries.append(entry.model_dump(by_alias=True, exclude_none=True))
    return FileResults(filename, tuple(entries))
