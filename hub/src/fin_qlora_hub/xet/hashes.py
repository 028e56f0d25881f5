"""The hashes of the Xet protocol: of chunks, of xorbs, of files and of runs of chunks.

A hash is 32 bytes. Its text form reads them as four little-endian 64-bit numbers, each printed as
16 hexadecimal digits, so the bytes stand reversed inside each group of eight.
"""

import re
import struct
from collections.abc import Iterable, Sequence

from blake3 import blake3

HASH_BYTES = 32
_CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_RUN_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_FILE_KEY = bytes(HASH_BYTES)
_FOUR_NUMBERS = struct.Struct("<4Q")
_TEXT = re.compile(r"[0-9a-f]{64}")
_SHORTEST_GROUP = 3
_LONGEST_GROUP = 9
_GROUP_ENDS = 4
_ASKED_GLOBALLY = 1024


def to_text(raw: bytes) -> str:
    """Return the text form of a hash."""
    return "{:016x}{:016x}{:016x}{:016x}".format(*_FOUR_NUMBERS.unpack(raw))


def from_text(text: str) -> bytes:
    """Return the bytes of a hash; raises ValueError."""
    if not _TEXT.fullmatch(text):
        raise ValueError("a Xet hash has 64 lower-case hexadecimal digits")
    return _FOUR_NUMBERS.pack(*(int(text[at : at + 16], 16) for at in range(0, 64, 16)))


def chunk_hash(data: bytes | memoryview) -> bytes:
    """Hash the raw bytes of a chunk."""
    return blake3(data, key=_CHUNK_KEY).digest()


def merkle_root(nodes: Iterable[tuple[bytes, int]]) -> bytes:
    """Combine hashes with their sizes in bytes, at least one: this is the hash of a xorb."""
    level = list(nodes)
    while len(level) > 1:
        level = [_parent(level[start:end]) for start, end in _groups(level)]
    return level[0][0]


def file_hash(chunks: Iterable[tuple[bytes, int]]) -> bytes:
    """Hash a file by its chunks: (hash, size in bytes) of each, at least one."""
    return blake3(merkle_root(chunks), key=_FILE_KEY).digest()


def run_hash(chunk_hashes: bytes) -> bytes:
    """Hash the concatenated hashes of a run of chunks, which proves that they are known."""
    return blake3(chunk_hashes, key=_RUN_KEY).digest()


def keyed(key: bytes, chunk: bytes) -> bytes:
    """Return a chunk's hash as only those can recognise it who have the chunk."""
    return blake3(chunk, key=key).digest()


def is_asked_globally(chunk: bytes) -> bool:
    """Say whether clients ask the server for this chunk, wherever in a file it stands."""
    return _last_number(chunk) % _ASKED_GLOBALLY == 0


def _last_number(raw: bytes) -> int:
    return int.from_bytes(raw[-8:], "little")


def _groups(level: Sequence[tuple[bytes, int]]) -> Iterable[tuple[int, int]]:
    start, count = 0, len(level)
    while start < count:
        end = min(start + _LONGEST_GROUP, count)
        for position in range(start + _SHORTEST_GROUP - 1, end):
            if _last_number(level[position][0]) % _GROUP_ENDS == 0:
                end = position + 1
                break
        yield start, end
        start = end


def _parent(children: Sequence[tuple[bytes, int]]) -> tuple[bytes, int]:
    lines = "".join(f"{to_text(raw)} : {size}\n" for raw, size in children)
    return blake3(lines.encode(), key=_NODE_KEY).digest(), sum(size for _, size in children)
