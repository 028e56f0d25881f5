"""Collections: shelves of repositories and other collections, which a namespace recommends."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller, namespaces_of, role_in, role_under
from fin_qlora_hub.access.visibility import RepositoryName, see, signed_in
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import (
    AlreadyExistsError,
    BadRequestError,
    ForbiddenError,
    NotAuthenticatedError,
    NotFoundError,
)
from fin_qlora_hub.metadata.tables import (
    Collection,
    CollectionItem,
    Namespace,
    Repository,
)
from fin_qlora_hub.text import quoted

MAX_TITLE = 60
MAX_DESCRIPTION = 150
MAX_NOTE = 500
MAX_ITEMS = 1000
THEMES = ("orange", "blue", "green", "purple", "pink", "indigo")
_ID_LENGTH = 24
# Owner and name, as they stand in addresses.
Slug = tuple[str, str]
_NOT_WORD = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Change:
    """What to change about a collection; None leaves it."""

    title: str | None = None
    description: str | None = None
    private: bool | None = None
    theme: str | None = None
    position: int | None = None


class CollectionExistsError(AlreadyExistsError):
    """The namespace has a collection of this title; `slug` names it."""

    def __init__(self, slug: str) -> None:
        super().__init__("You already have a collection of this title.")
        self.slug = slug


def slug_of(collection: Collection) -> str:
    """Return by what clients call a collection; its end stays when the title changes."""
    plain = unicodedata.normalize("NFKD", collection.title).encode("ascii", "ignore").decode()
    words = _NOT_WORD.sub("-", plain.lower()).strip("-")
    return f"{collection.namespace.name}/{words or 'collection'}-{collection.id:0{_ID_LENGTH}x}"


def create_collection(
    session: Session,
    owner: str,
    *,
    title: str,
    description: str,
    private: bool,
    caller: Caller | None,
) -> Collection:
    """Make an empty collection; raises CollectionExistsError where the title is taken."""
    caller = signed_in(caller)
    namespace, role = role_under(session, caller, owner)
    if namespace is None or role is None or not role.writes:
        raise ForbiddenError(
            f"You don't have the rights to create a collection under the namespace "
            f"{quoted(owner)}: it needs the role 'write' and a token with the role 'write'."
        )
    title = _checked(title, what="title", limit=MAX_TITLE)
    same = session.scalar(
        select(Collection).filter_by(namespace_id=namespace.id, title=title).limit(1)
    )
    if same is not None:
        raise CollectionExistsError(slug_of(same))
    highest = select(func.max(Collection.position)).filter_by(namespace_id=namespace.id)
    last = session.scalar(highest)
    made = Collection(
        namespace=namespace,
        title=title,
        description=_checked(description, what="description", limit=MAX_DESCRIPTION, empty=True),
        private=private,
        theme=THEMES[0],
        position=0 if last is None else last + 1,
        updated_at=datetime.now(UTC),
    )
    session.add(made)
    session.flush()
    record(session, Act.COLLECTION_CREATED, collection=slug_of(made), private=private)
    return made


def open_collection(session: Session, slug: Slug, caller: Caller | None) -> Collection:
    """Return a collection that the caller may see, or behave as if there were none."""
    owner, name = slug
    found = None
    if len(name) > _ID_LENGTH and re.fullmatch(r"[0-9a-f]{24}", name[-_ID_LENGTH:]):
        number = int(name[-_ID_LENGTH:], 16)
        found = session.get(Collection, number) if number < 2**63 else None
    if (
        found is None
        or found.namespace.name_key != owner.lower()
        or (found.private and not _belongs(session, found, caller))
    ):
        if caller is None:
            raise NotAuthenticatedError("Invalid username or password.")
        raise NotFoundError("There is no such collection.")
    return found


def open_own(session: Session, slug: Slug, caller: Caller | None) -> Collection:
    """Return a collection that the caller may change."""
    caller = signed_in(caller)
    found = open_collection(session, slug, caller)
    role = role_in(session, caller, found.namespace)
    if role is None or not role.writes:
        raise ForbiddenError(
            "You may see this collection but not change it: that needs the role 'write' in "
            f"{found.namespace.name!r} and a token with the role 'write'."
        )
    return found


def list_collections(
    session: Session,
    caller: Caller | None,
    *,
    owners: Sequence[str] = (),
    item: RepositoryName | None = None,
    limit: int,
    after: int | None = None,
) -> Sequence[Collection]:
    """Return those that the caller may see, the last changed first; `after` skips so many."""
    query = select(Collection).join(Namespace, Namespace.id == Collection.namespace_id)
    own = namespaces_of(session, caller)
    query = query.where(or_(Collection.private.is_(False), Collection.namespace_id.in_(own)))
    if owners:
        query = query.where(Namespace.name_key.in_([owner.lower() for owner in owners]))
    if item is not None:
        held = select(CollectionItem.collection_id).filter_by(
            repository_id=see(session, item, caller).id
        )
        query = query.where(Collection.id.in_(held))
    query = query.order_by(Collection.updated_at.desc(), Collection.id.desc())
    return session.scalars(query.limit(limit).offset(after or 0)).all()


def visible_items(
    session: Session, collection: Collection, caller: Caller | None
) -> Iterator[tuple[CollectionItem, Repository | Collection]]:
    """Yield the items that the caller may see, in order."""
    query = (
        select(CollectionItem, Repository, Collection)
        .outerjoin(Repository, Repository.id == CollectionItem.repository_id)
        .outerjoin(Collection, Collection.id == CollectionItem.held_id)
        .where(CollectionItem.collection_id == collection.id)
        .order_by(CollectionItem.position, CollectionItem.id)
    )
    mine = namespaces_of(session, caller)
    for item, repository, held in session.execute(query):
        found = repository if item.held_id is None else held
        if not found.private or found.namespace_id in mine:
            yield item, found


def change_collection(session: Session, collection: Collection, change: Change) -> None:
    """Change what is said of a collection, or its place among those of its owner."""
    if change.title is not None:
        collection.title = _checked(change.title, what="title", limit=MAX_TITLE)
    if change.description is not None:
        collection.description = _checked(
            change.description, what="description", limit=MAX_DESCRIPTION, empty=True
        )
    if change.private is not None:
        collection.private = change.private
    if change.theme is not None:
        if change.theme not in THEMES:
            raise BadRequestError(f"The theme is one of {', '.join(THEMES)}.")
        collection.theme = change.theme
    if change.position is not None:
        siblings = select(Collection).filter_by(namespace_id=collection.namespace_id)
        ordered = list(session.scalars(siblings.order_by(Collection.position, Collection.id)))
        ordered.remove(collection)
        ordered.insert(change.position, collection)
        for place, one in enumerate(ordered):
            one.position = place
    _changed(session, collection)
    private = collection.private
    record(session, Act.COLLECTION_CHANGED, collection=slug_of(collection), private=private)


def remove_collection(session: Session, collection: Collection) -> None:
    """Remove a collection; what stood in it stays."""
    record(session, Act.COLLECTION_DELETED, collection=slug_of(collection))
    session.delete(collection)


def add_item(
    session: Session,
    collection: Collection,
    wanted: RepositoryName | Slug,
    *,
    note: str,
    caller: Caller | None,
) -> None:
    """Put a repository or another collection, which the caller may see, at the end."""
    repository_id = held_id = None
    if isinstance(wanted, RepositoryName):
        repository_id = see(session, wanted, caller).id
    else:
        held_id = open_collection(session, wanted, caller).id
        if held_id == collection.id:
            raise BadRequestError("A collection cannot hold itself.")
    items = _items(session, collection)
    if any((item.repository_id, item.held_id) == (repository_id, held_id) for item in items):
        raise AlreadyExistsError("This is in the collection already.")
    if len(items) >= MAX_ITEMS:
        raise BadRequestError(f"A collection holds at most {MAX_ITEMS} items.")
    session.add(
        CollectionItem(
            collection_id=collection.id,
            repository_id=repository_id,
            held_id=held_id,
            position=items[-1].position + 1 if items else 0,
            note=_checked(note, what="note", limit=MAX_NOTE, empty=True),
        )
    )
    _changed(session, collection)
    name = str(wanted) if isinstance(wanted, RepositoryName) else "/".join(wanted)
    what = {"collection": slug_of(collection), "item": name}
    record(session, Act.COLLECTION_ITEM_ADDED, **what, item_id=repository_id or held_id)


def change_item(
    session: Session,
    collection: Collection,
    number: str,
    *,
    note: str | None,
    position: int | None,
) -> None:
    """Change the note of an item, or its place."""
    item = _find_item(session, collection, number)
    if note is not None:
        item.note = _checked(note, what="note", limit=MAX_NOTE, empty=True)
    if position is not None:
        ordered = _items(session, collection)
        ordered.remove(item)
        ordered.insert(position, item)
        for place, one in enumerate(ordered):
            one.position = place
    _changed(session, collection)
    what = {"collection": slug_of(collection), "item_id": item.repository_id}
    record(session, Act.COLLECTION_ITEM_CHANGED, **what)


def remove_item(session: Session, collection: Collection, number: str) -> None:
    """Take an item out."""
    item = _find_item(session, collection, number)
    session.delete(item)
    _changed(session, collection)
    what = {"collection": slug_of(collection), "item_id": item.repository_id}
    record(session, Act.COLLECTION_ITEM_REMOVED, **what)


def _items(session: Session, collection: Collection) -> list[CollectionItem]:
    query = select(CollectionItem).filter_by(collection_id=collection.id)
    ordered = query.order_by(CollectionItem.position, CollectionItem.id)
    return list(session.scalars(ordered))


def _find_item(session: Session, collection: Collection, number: str) -> CollectionItem:
    found = None
    if re.fullmatch(r"[0-9a-f]{24}", number) and int(number, 16) < 2**63:
        found = session.get(CollectionItem, int(number, 16))
    if found is None or found.collection_id != collection.id:
        raise NotFoundError("There is no such item in this collection.")
    return found


def _changed(session: Session, collection: Collection) -> None:
    collection.updated_at = datetime.now(UTC)
    session.flush()


def _belongs(session: Session, collection: Collection, caller: Caller | None) -> bool:
    return caller is not None and role_in(session, caller, collection.namespace) is not None


def _checked(text: str, *, what: str, limit: int, empty: bool = False) -> str:
    text = " ".join(text.split())
    if len(text) > limit or not (text or empty):
        least = 0 if empty else 1
        raise BadRequestError(f"The {what} of a collection has {least} to {limit} characters.")
    return text
