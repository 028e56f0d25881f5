"""The commit body is read in pieces, whatever the pieces, and nothing of a bad one remains."""

import base64
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from fin_qlora_hub.errors import BadRequestError, HubError, TooLargeError
from fin_qlora_hub.git.ndjson import CommitReader, Line
from fin_qlora_hub.stores.local_blobs import LocalBlobStore

CONTENTS = {"a.txt": b"hello", "empty": b"", "b/c.bin": bytes(range(256)), 'é"\\.md': b"# hi"}


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs")


def leftovers(store: LocalBlobStore) -> list[str]:
    return os.listdir(store._incoming)


def reader(store: LocalBlobStore, *, limit: int = 10_000, line: int = 1000) -> CommitReader:
    return CommitReader(lambda: store.writer(limit=limit), max_line_bytes=line, max_lines=20)


def body(*, escape_slashes: bool = False, compact: bool = False) -> bytes:
    lines = [{"key": "header", "value": {"summary": 's: {[,"content":', "description": ""}}]
    for path, content in CONTENTS.items():
        value = {"content": base64.b64encode(content).decode(), "path": path, "encoding": "base64"}
        lines.append({"key": "file", "value": value})
    lines.append({"value": {"path": "x"}, "key": "deletedFile"})
    separators = (",", ":") if compact else None
    texts = [json.dumps(line, separators=separators) for line in lines]
    if escape_slashes:
        texts = [text.replace("/", "\\/") for text in texts]
    return "\n".join(texts).encode()


def read(store: LocalBlobStore, text: bytes, cuts: list[int]) -> list[Line]:
    lines: list[Line] = []
    commit = reader(store)
    edges = [0, *cuts, len(text)]
    for start, end in pairwise(edges):
        lines += commit.feed(text[start:end])
    return lines + commit.finish()


def feed_all(commit: CommitReader, pieces: list[bytes]) -> None:
    for piece in pieces:
        commit.feed(piece)
    commit.finish()


def files(store: LocalBlobStore, lines: list[Line]) -> dict[str, bytes]:
    blobs = {line.value["path"]: line.blob for line in lines if line.blob is not None}
    store.publish(blobs.values())
    return {path: b"".join(store.read(blob.content.sha256)) for path, blob in blobs.items()}


@pytest.fixture
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the disk the thousands of flushes that trying every cut would ask for."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.mark.usefixtures("without_waiting")
@pytest.mark.parametrize("escape_slashes", [False, True])
def test_every_cut_gives_the_same_files(store: LocalBlobStore, escape_slashes: bool) -> None:
    text = body(escape_slashes=escape_slashes)
    for cut in range(len(text)):
        lines = read(store, text, [cut])
        assert [line.key for line in lines] == ["header", *["file"] * 4, "deletedFile"]
        assert lines[0].value["summary"] == 's: {[,"content":'
        assert files(store, lines) == CONTENTS
    assert leftovers(store) == []


@pytest.mark.usefixtures("without_waiting")
def test_byte_by_byte_and_compact_json(store: LocalBlobStore) -> None:
    text = body(compact=True) + b"\n\n"
    assert files(store, read(store, text, list(range(1, len(text))))) == CONTENTS


def test_content_may_stand_anywhere_in_its_line(store: LocalBlobStore) -> None:
    text = b'{"value":{"tags":["content","x"],"path":"p","content":"aGk=","n":{"content":"no"}},'
    lines = read(store, text + b'"key":"file"}', [])
    assert lines[0].value == {"tags": ["content", "x"], "path": "p", "n": {"content": "no"}}
    assert files(store, lines) == {"p": b"hi"}


@pytest.mark.parametrize(
    "line",
    [
        b'{"key":"file","value":{"path":"p","content":"aGk"}}',
        b'{"key":"file","value":{"path":"p","content":"aG k="}}',
        b'{"key":"file","value":{"path":"p","content":"aGk=aGk="}}',
        b'{"key":"file","value":{"path":"p","content":"a"}}',
        b'{"key":"file","value":{"path":"p","content":"aG\\u006b="}}',
        b'{"key":"file","value":{"path":"p","content":"aGk=","content":"aGk="}}',
        b'{"key":"file","value":{"path":"p","c\\u006fntent":"aGk="}}',
        b'{"key":"file","value":{"path":"p","content":["aGk="]}}',
        b'{"key":"file","value":{"path":"p","content":"aGk=\n"}}',
        b'{"key":"file","value":{"path":"p","content":"aGk="}',
        b'{"key":"file","value":{"path":"p","content":"aG',
        b'{"key":"file","value":["content","aGk="]}',
        b'{"key":1,"value":{"content":"aGk="}}',
        b"[" * 900,
        b"nonsense",
        b'{"key":"file","value":{"path":"\xff","content":"aGk="}}',
    ],
)
def test_bad_lines_are_refused_and_leave_nothing(store: LocalBlobStore, line: bytes) -> None:
    for pieces in ([line], [line[i : i + 1] for i in range(len(line))]):
        commit = reader(store)
        with pytest.raises(BadRequestError, match="Line 1 of the commit"):
            feed_all(commit, pieces)
        commit.discard()
        assert leftovers(store) == []


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        (b'{"key":"header","value":{"summary":"' + b"x" * 2000, {}),
        (b'{"key":"file","value":{"content":"' + b"QUJD" * 100, {"limit": 299}),
        (b'{"key":"header","value":{}}\n' * 30, {}),
    ],
)
def test_what_is_too_large_is_refused(
    store: LocalBlobStore, text: bytes, limits: dict[str, int]
) -> None:
    commit = reader(store, **limits)
    with pytest.raises(TooLargeError):
        commit.feed(text)
    commit.discard()
    assert leftovers(store) == []


def test_a_good_file_before_a_bad_line_is_forgotten_too(store: LocalBlobStore) -> None:
    commit = reader(store)
    with pytest.raises(HubError):
        commit.feed(b'{"key":"file","value":{"path":"p","content":"aGk="}}\nnonsense\n')
    commit.discard()
    assert leftovers(store) == []


def test_a_large_file_is_never_held_in_memory(store: LocalBlobStore) -> None:
    import tracemalloc

    commit = reader(store, limit=40_000_000)
    piece = base64.b64encode(bytes(49_152))
    tracemalloc.start()
    try:
        commit.feed(b'{"key":"file","value":{"content":"')
        for _ in range(600):
            commit.feed(piece)
        lines = commit.feed(b'","path":"p"}}\n')
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lines[0].blob is not None
    assert lines[0].blob.content.size == 600 * 49_152
    assert peak < 4_000_000
    lines[0].blob.discard()
