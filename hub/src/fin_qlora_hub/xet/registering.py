"""An uploaded shard: every file that it describes is verified, then all become known at once."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from fin_qlora_hub.errors import BadRequestError, TooLargeError
from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.metadata.quotas import spend, xorb_to_come
from fin_qlora_hub.metadata.tables import Repository, XetChunk, XetFile, XetSegment
from fin_qlora_hub.stores.blobs import Content
from fin_qlora_hub.stores.holding import hold
from fin_qlora_hub.xet.access import Access, Scope, require
from fin_qlora_hub.xet.hashes import HASH_BYTES, file_hash, is_asked_globally, run_hash, to_text
from fin_qlora_hub.xet.ownership import TOUCH_AGAIN, require_usable, touch
from fin_qlora_hub.xet.shards import ClaimedFile, Segment, read_files
from fin_qlora_hub.xet.store import StoredXorb, XorbStore
from fin_qlora_hub.xet.xorbs import XorbIndex

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class VerifiedFile:
    """A file whose hashes are right; `asked` names chunks that clients ask for, by segment."""

    claimed: ClaimedFile
    asked: tuple[tuple[str, int], ...]


def register_shard(
    database: Database,
    store: XorbStore,
    access: Access,
    shard: Path,
    *,
    max_file_bytes: int,
    progress: Progress = lambda _verified, _total: None,
) -> bool:
    """Verify and register the files of a shard; return False if all were known before.

    `progress` hears how many of the files are verified, again and again while it takes long.
    Raises BadRequestError for a shard that is malformed, whose hashes are wrong, or which refers
    to what the namespace may not use.
    """
    with shard.open("rb") as handle:
        claimed = _wanted(read_files(handle), max_file_bytes=max_file_bytes)
    verified = []
    for number, file in enumerate(claimed):
        progress(number, len(claimed))
        with database.reading() as session:
            require(session, access, scope=Scope.WRITE)
            if _is_registered(session, access.repository_id, file):
                continue
            xorbs = require_usable(session, access.namespace_id, file.segments)
            trusted = _is_known_here(session, access.namespace_id, file)
        beat = partial(progress, number, len(claimed))
        verified.append(_verified(store, file, xorbs, trusted=trusted, beat=beat))
    progress(len(claimed), len(claimed))
    if not verified:
        return False
    with database.writing() as session:
        repository = require(session, access, scope=Scope.WRITE)
        for checked in verified:
            segments = checked.claimed.segments
            require_usable(session, access.namespace_id, segments)
            _register(session, repository, checked, namespace_id=access.namespace_id)
            touch(session, access.namespace_id, {segment.xorb for segment in segments})
    return True


def _wanted(files: Iterable[ClaimedFile], *, max_file_bytes: int) -> list[ClaimedFile]:
    wanted: dict[tuple[str, str], ClaimedFile] = {}
    for file in files:
        if file.size > max_file_bytes:
            raise TooLargeError(
                f"A file of {file.size:,} bytes is larger than the {max_file_bytes:,} bytes that "
                "this hub takes: split it, or ask the administrator to raise "
                "FIN_QLORA_HUB_MAX_FILE_BYTES."
            )
        wanted[file.file_hash, file.sha256] = file
    return list(wanted.values())


def _is_registered(session: Session, repository_id: int, file: ClaimedFile) -> bool:
    """Say whether a file was registered lately: before that, it counts as sent anew from now."""
    query = select(XetFile.id).where(
        XetFile.repository_id == repository_id,
        XetFile.sha256 == file.sha256,
        XetFile.file_hash == file.file_hash,
        XetFile.created_at > datetime.now(UTC) - TOUCH_AGAIN,
    )
    return session.scalar(query) is not None


def _is_known_here(session: Session, namespace_id: int, file: ClaimedFile) -> bool:
    """Say whether this namespace registered the same before: equal chunks have equal bytes."""
    query = (
        select(XetFile.id)
        .join(Repository, Repository.id == XetFile.repository_id)
        .where(
            XetFile.file_hash == file.file_hash,
            XetFile.sha256 == file.sha256,
            Repository.namespace_id == namespace_id,
        )
    )
    return session.scalar(query.limit(1)) is not None


def _verified(
    store: XorbStore,
    file: ClaimedFile,
    xorbs: Mapping[str, StoredXorb],
    *,
    trusted: bool,
    beat: Callable[[], None],
) -> VerifiedFile:
    nodes: list[tuple[bytes, int]] = []
    asked: list[tuple[str, int]] = []
    digest = hashlib.sha256()
    for position, (segment, run) in enumerate(zip(file.segments, file.runs, strict=True)):
        beat()
        xorb = xorbs[segment.xorb]
        index = store.index(xorb)
        _check_segment(segment, index, run)
        for chunk, size in index.nodes(segment.start, segment.end):
            if not nodes or is_asked_globally(chunk):
                asked.append((to_text(chunk), position))
            nodes.append((chunk, size))
        if not trusted:
            for data in store.unpacked(xorb, segment, index, hashed=False):
                digest.update(data)
    if to_text(file_hash(nodes)) != file.file_hash:
        raise _wrong(file, "its chunks make another Xet hash")
    if not trusted and digest.hexdigest() != file.sha256:
        for segment in file.segments:  # it is the disk that is wrong if a chunk has changed there
            xorb = xorbs[segment.xorb]
            for _chunk in store.unpacked(xorb, segment, store.index(xorb)):
                pass
        raise _wrong(file, f"its bytes have the SHA-256 {digest.hexdigest()}")
    return VerifiedFile(file, tuple(asked))


def _check_segment(segment: Segment, index: XorbIndex, run: bytes) -> None:
    if not segment.start < segment.end <= len(index):
        raise BadRequestError(
            f"The file refers to chunks {segment.start} to {segment.end} of the xorb "
            f"{segment.xorb}, which has {len(index)}."
        )
    hashes = index.hashes[segment.start * HASH_BYTES : segment.end * HASH_BYTES]
    if run_hash(hashes) != run or index.raw_size(segment.start, segment.end) != segment.size:
        raise BadRequestError(
            f"The chunks {segment.start} to {segment.end} of the xorb {segment.xorb} are not those "
            "that the file describes: nothing was registered."
        )


def _wrong(file: ClaimedFile, reason: str) -> BadRequestError:
    return BadRequestError(
        f"The file {file.file_hash} (SHA-256 {file.sha256}) is not what it says: {reason}. Nothing "
        "was registered; send it again."
    )


def _register(
    session: Session, repository: Repository, file: VerifiedFile, *, namespace_id: int
) -> None:
    claimed = file.claimed
    spend(session, [xorb_to_come(segment.xorb) for segment in claimed.segments])
    known = session.scalar(
        select(XetFile).filter_by(repository_id=repository.id, sha256=claimed.sha256)
    )
    if known is not None:
        known.created_at = datetime.now(UTC)
        hold(session, repository.id, Content(claimed.sha256, None, claimed.size))
        return  # where it is chunked in another way, the first stays
    row = XetFile(
        repository_id=repository.id,
        sha256=claimed.sha256,
        file_hash=claimed.file_hash,
        size=claimed.size,
        created_at=datetime.now(UTC),
    )
    session.add(row)
    session.flush()
    session.execute(
        insert(XetSegment),
        [
            {
                "file_id": row.id,
                "position": position,
                "xorb": segment.xorb,
                "chunk_start": segment.start,
                "chunk_end": segment.end,
                "size": segment.size,
            }
            for position, segment in enumerate(claimed.segments)
        ],
    )
    hold(session, repository.id, Content(claimed.sha256, None, claimed.size))
    for chunk, position in dict(file.asked).items():
        session.merge(
            XetChunk(
                namespace_id=namespace_id,
                chunk=chunk,
                file_id=row.id,
                position=position,
            )
        )
