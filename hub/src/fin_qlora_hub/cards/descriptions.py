"""The card of a repository: made from its files before a commit's transaction, kept inside it."""

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from fin_qlora_hub.access.visibility import Kind
from fin_qlora_hub.cards.card import CARD_FILE, CONFIGURATION_FILES, MAX_CARD_BYTES, Card, describe
from fin_qlora_hub.cards.evaluations import MAX_FILES, is_result_file
from fin_qlora_hub.cards.leaderboards import keep_results
from fin_qlora_hub.contents.storage import Source, Storage
from fin_qlora_hub.contents.tensors import count_parameters, read_header
from fin_qlora_hub.errors import HubError
from fin_qlora_hub.git.trees import FileEntry
from fin_qlora_hub.metadata.tables import LISTED, Repository, RepositoryTag
from fin_qlora_hub.stores.blobs import Content, StagedBlob

_WEIGHTS = ("model.safetensors", "adapter_model.safetensors")
# Those of the largest models in one file have less; commits wait while it is read.
_MAX_HEADER_BYTES = 4 * 1024 * 1024


def make_card(
    session: Session,
    storage: Storage,
    repository: Repository,
    files: Mapping[str, FileEntry],
    *,
    staged: Mapping[str, StagedBlob],
) -> Card:
    """Derive the card from a revision's files; `staged` holds those that are not published yet."""
    texts = {}
    results = [path for path in sorted(files) if is_result_file(path)]
    for path in (CARD_FILE, *CONFIGURATION_FILES, *results[:MAX_FILES]):
        entry = files.get(path)
        if entry is not None and entry.content.size <= MAX_CARD_BYTES:
            content = entry.content
            source: StagedBlob | Source | None = staged.get(content.sha256)
            if source is None:
                source = storage.source(session, repository.id, content.sha256, size=content.size)
            texts[path] = b"".join(source.read())
    card = describe(texts, paths=files, of_dataset=repository.kind == Kind.DATASET)
    for path in _WEIGHTS:
        if path in files and files[path].content.sha256 not in staged:
            content = files[path].content
            return replace(card, weights=_weights(session, storage, repository, path, content))
    return card


def _weights(
    session: Session, storage: Storage, repository: Repository, path: str, content: Content
) -> tuple[str, Mapping[str, int]]:
    """Count what weights hold: none where that is not to be read. The same are read only once."""
    known = repository.card_details.get("weights")
    if known and known["parameters"] and known["sha256"] == content.sha256:
        return content.sha256, known["parameters"]
    try:
        source = storage.source(session, repository.id, content.sha256, size=content.size)
    except HubError:
        return content.sha256, {}
    try:
        header = read_header(source, path=path, limit=_MAX_HEADER_BYTES)
        return content.sha256, count_parameters(header)
    except Exception:  # missing, damaged or a stranger's: no fault in it may keep a commit out
        return content.sha256, {}


def keep_card(session: Session, repository: Repository, card: Card) -> None:
    """Store a card and the tags by which the repository is found."""
    repository.card = card.summary()
    repository.card_details = card.details()
    session.execute(delete(RepositoryTag).filter_by(repository_id=repository.id))
    listed = {name: getattr(repository, name) for name in LISTED}
    rows = [{"repository_id": repository.id, "tag": tag, **listed} for tag in card.tags]
    if rows:
        session.execute(insert(RepositoryTag), rows)
    keep_results(session, repository, card)
