"""From the lines of a commit body to the change that it asks for."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from fin_qlora_hub.access.names import check_path, check_path_length
from fin_qlora_hub.errors import BadRequestError, TooLargeError
from fin_qlora_hub.git.ndjson import CommitReader, Line
from fin_qlora_hub.git.operations import AddFile, AddStored, Change, Copy, Delete, Operation
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.stores.blobs import BlobStore
from fin_qlora_hub.text import Text, quoted

MAX_KEPT_BYTES = 8 * 1024 * 1024
MAX_REVISION_LENGTH = 300
_PER_OPERATION_BYTES = 100
_Value = TypeVar("_Value", bound=BaseModel)
_Revision = Annotated[Text, StringConstraints(max_length=MAX_REVISION_LENGTH)]


class _Header(BaseModel):
    summary: Annotated[Text, StringConstraints(min_length=1)]
    description: Text = ""
    parent_commit: _Revision | None = Field(default=None, alias="parentCommit")


class _File(BaseModel):
    path: Text
    encoding: Literal["base64"]


class _LargeFile(BaseModel):
    path: Text
    algo: Literal["sha256"]
    oid: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Deleted(BaseModel):
    path: Text


class _CopiedFile(BaseModel):
    path: Text
    source: Text = Field(alias="srcPath")
    revision: _Revision | None = Field(default=None, alias="srcRevision")


class ChangeReader:
    """Feed it the body of a commit; `finish` returns the change, `discard` forgets the bytes."""

    def __init__(self, blobs: BlobStore, settings: Settings) -> None:
        self._header: _Header | None = None
        self._operations: list[Operation] = []
        self._kept = 0
        self._lines = CommitReader(
            lambda: blobs.writer(limit=settings.max_file_bytes),
            max_line_bytes=settings.max_line_bytes,
            max_lines=settings.max_operations + 1,
        )

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        self._take(self._lines.feed(chunk))

    def finish(self) -> Change:
        """Return the whole change once the body has ended."""
        self._take(self._lines.finish())
        if self._header is None:
            raise BadRequestError("The commit has no header line: send its summary first.")
        return Change(
            title=self._header.summary,
            message=self._header.description,
            operations=tuple(self._operations),
            parent=self._header.parent_commit,
        )

    def discard(self) -> None:
        """Remove every received file that no commit has published."""
        self._lines.discard()
        for operation in self._operations:
            if isinstance(operation, AddFile):
                operation.blob.discard()

    def _take(self, lines: list[Line]) -> None:
        for position, line in enumerate(lines):
            try:
                self._take_line(line)
            except BaseException:
                for lost in lines[position:]:
                    if lost.blob is not None:
                        lost.blob.discard()
                raise

    def _take_line(self, line: Line) -> None:
        if (self._header is None) != (line.key == "header"):
            raise BadRequestError(
                f"Line {line.number} of the commit: one 'header' line must come first."
            )
        if line.key == "header":
            self._header = _parse(_Header, line)
            return
        build = _BUILDERS.get(line.key)
        if build is None:
            raise BadRequestError(
                f"Line {line.number} of the commit has the unknown key {quoted(line.key)}; "
                f"the hub knows {', '.join(_BUILDERS)}."
            )
        if (line.blob is not None) != (line.key == "file"):
            raise BadRequestError(
                f"Line {line.number} of the commit: 'content' belongs to 'file' lines, "
                "and each of them needs it."
            )
        operation = build(line)
        self._kept += _size(operation)
        if self._kept > MAX_KEPT_BYTES:
            raise TooLargeError(
                f"The paths of the commit have more than {MAX_KEPT_BYTES:,} bytes together: send "
                "it in parts."
            )
        self._operations.append(operation)


def _size(operation: Operation) -> int:
    texts = [operation.path]
    if isinstance(operation, Copy):
        texts += [operation.source, operation.revision or ""]
    return _PER_OPERATION_BYTES + sum(len(text.encode()) for text in texts)


def _file(line: Line) -> Operation:
    assert line.blob is not None
    return AddFile(check_path(_parse(_File, line).path), line.blob)


def _large_file(line: Line) -> Operation:
    value = _parse(_LargeFile, line)
    return AddStored(check_path(value.path), value.oid)


def _deleted(line: Line) -> Operation:
    return Delete(check_path_length(_parse(_Deleted, line).path.rstrip("/")))


def _copied_file(line: Line) -> Operation:
    value = _parse(_CopiedFile, line)
    return Copy(check_path(value.path), check_path_length(value.source), value.revision)


_BUILDERS: dict[str, Callable[[Line], Operation]] = {
    "file": _file,
    "lfsFile": _large_file,
    "deletedFile": _deleted,
    "deletedFolder": _deleted,
    "copyFile": _copied_file,
}


def _parse(model: type[_Value], line: Line) -> _Value:
    try:
        return model.model_validate(line.value)
    except ValidationError as error:
        first: Any = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or line.key
        raise BadRequestError(
            f"Line {line.number} of the commit ({line.key}): {field}: {first['msg']}."
        ) from None
