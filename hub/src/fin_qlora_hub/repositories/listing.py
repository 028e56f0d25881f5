"""Lists of repositories, a page at a time, at a cost that does not grow with their number.

A caller sees what is public, and all of the namespaces in which they have a role. Each of these
parts stands sorted in an index, and so do those of its repositories that have a tag: the first few
of each part, merged, are the first few of all. A text in a name is met soon enough on the way, or
else in so few names that they are looked up.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from itertools import islice
from math import isqrt
from typing import Any

from sqlalchemy import Select, bindparam, exists, func, literal, select, tuple_
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller, find_namespace, namespaces_of
from fin_qlora_hub.access.visibility import SEEN_COLUMNS, Kind, Seen, as_seen
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.metadata.tables import Namespace, Repository, RepositoryTag
from fin_qlora_hub.repositories import finding

_ROWS_AT_ONCE = 50
# No matter which of two tags is the rarer one where both have more repositories than this.
_MANY = 2000
_MAX_CURSOR_LENGTH = 200
_MAX_TEXTS = 8
_MAX_INTEGER = 2**63
_LIKE_SIGNS = re.compile(r"[%_!]")


class SortKey(StrEnum):
    """By which column a list is sorted, the highest first."""

    UPDATED = "updated_at"
    CREATED = "created_at"
    DOWNLOADS = "downloads"


@dataclass(frozen=True)
class Search:
    """Which repositories to list; every condition must hold."""

    kind: Kind
    author: str | None = None
    texts: Sequence[str] = ()
    tags: Sequence[str] = ()
    sort: SortKey = SortKey.UPDATED
    gated: bool | None = None


@dataclass(frozen=True)
class Shape:
    """What decides the form of a statement; all values are given when it runs.

    `namespace` asks for one namespace, `private` for those that are or are not. The list is gone
    through in order, that of the first tag where there is one, until enough fulfil everything;
    `rare` begins with all that may have one text in their name, `few` with all that are gated.
    """

    sort: SortKey
    namespace: bool
    tags: int = 0
    rare: bool = False
    texts: int = 0
    gated: bool | None = None
    few: bool = False
    after: bool = False


_repositories = Repository.__table__.c
_namespaces = Namespace.__table__.c
_tags = RepositoryTag.__table__.c
_CARDS = select(_repositories.id, _repositories.card_details).where(
    _repositories.id.in_(bindparam("ids", expanding=True))
)
_SEEN = (
    select(*SEEN_COLUMNS)
    .select_from(
        Repository.__table__.join(Namespace.__table__, _namespaces.id == _repositories.namespace_id)
    )
    .where(_repositories.id.in_(bindparam("ids", expanding=True)))
)
_TAGGED = select(func.count()).select_from(
    select(_tags.repository_id).where(_tags.tag == bindparam("tag")).limit(_MANY).subquery()
)
_GATED = select(func.count()).select_from(
    select(_repositories.id)
    .where(_repositories.gated > literal(""))
    .limit(bindparam("most"))
    .subquery()
)
_HIGHEST = select(func.max(_repositories.id))


def search(
    session: Session, wanted: Search, *, caller: Caller | None, limit: int, cursor: str | None
) -> Iterator[Seen]:
    """Yield the repositories that the caller may read and that match, at most `limit`."""
    connection = session.connection()
    values: dict[str, Any] = {"kind": wanted.kind, "limit": limit}
    tags = _rarest_first(session, wanted.tags)
    values |= {f"tag{number}": tag for number, tag in enumerate(tags)}
    rare = False
    texts = sorted({text.lower() for text in wanted.texts if text}, key=len)
    if len(texts) > _MAX_TEXTS:
        raise BadRequestError(f"search is given {len(texts)} times: give it {_MAX_TEXTS} at most.")
    if texts:
        most = _worth_looking_up(session, limit)
        rare = finding.count(session, texts[-1], most=most + 1) <= most
        values |= finding.bounds(texts[-1]) if rare else {}
        escaped = (_LIKE_SIGNS.sub(r"!\g<0>", text) for text in texts)
        values |= {f"text{number}": f"%{text}%" for number, text in enumerate(escaped)}
    few = False
    if wanted.gated and not rare:
        most = _worth_looking_up(session, limit)
        few = (connection.scalar(_GATED, {"most": most + 1}) or 0) <= most
    if cursor:
        values["value"], values["last"] = _read_cursor(cursor, wanted.sort)
    rows: list[tuple[Any, int]] = []
    for part in _parts(session, wanted, caller):
        shape = Shape(
            sort=wanted.sort,
            namespace="namespace" in part,
            tags=len(tags),
            rare=rare,
            texts=len(texts),
            gated=wanted.gated,
            few=few,
            after=bool(cursor),
        )
        rows += [tuple(row) for row in connection.execute(statement(shape), {**values, **part})]
    rows.sort(reverse=True)
    ids = iter([number for _, number in rows[:limit]])
    while some := list(islice(ids, _ROWS_AT_ONCE)):
        found = {row[0]: as_seen(row) for row in connection.execute(_SEEN, {"ids": some})}
        yield from (found[number] for number in some)


def card_details(session: Session, number: int) -> Mapping[str, Any]:
    """Return the rest of a repository's card, which may be long."""
    row = session.connection().execute(_CARDS, {"ids": [number]}).one()
    details: Mapping[str, Any] = row[1]
    return details


@cache
def statement(shape: Shape) -> Select[Any]:
    """Return the statement of a shape: ids and sort keys, the highest first."""
    looked_up = shape.rare or shape.few
    place = _tags if shape.tags and not looked_up else _repositories
    number = _tags.repository_id if place is _tags else _repositories.id
    key = place[shape.sort]
    # An expression in place of a column keeps the planner from reading an index in order.
    kind = place.kind + "" if looked_up else place.kind
    namespace = place.namespace_id + 0 if looked_up else place.namespace_id
    query = select(key, number).where(
        kind == bindparam("kind"), place.private == bindparam("private")
    )
    if shape.namespace:
        query = query.where(namespace == bindparam("namespace"))
    if place is _tags:
        query = query.where(_tags.tag == bindparam("tag0"))
    if place is _tags and (shape.texts or shape.gated is not None):
        query = query.where(_repositories.id == number)
    if shape.gated is not None:
        # No kind of gate comes before this: written so, the index of all that have one serves.
        gated = _repositories.gated
        query = query.where(gated > literal("") if shape.gated else gated.is_(None))
    if shape.rare:
        query = query.where(number.in_(finding.HOLDING))
    if shape.texts:
        name = _namespaces.name_key + "/" + _repositories.name_key
        query = query.where(
            _namespaces.id == _repositories.namespace_id,
            *(name.like(bindparam(f"text{n}"), escape="!") for n in range(shape.texts)),
        )
    for other in range(int(place is _tags), shape.tags):
        tagged = RepositoryTag.__table__.alias(f"other{other}")
        query = query.where(
            exists()
            .where(tagged.c.repository_id == number, tagged.c.tag == bindparam(f"tag{other}"))
            .correlate_except(tagged)
        )
    if shape.after:
        query = query.where(
            tuple_(key, number) < tuple_(bindparam("value", type_=key.type), bindparam("last"))
        )
    return query.order_by(key.desc(), number.desc()).limit(bindparam("limit"))


def _parts(session: Session, wanted: Search, caller: Caller | None) -> Iterator[dict[str, Any]]:
    """Yield the values that ask for what is public, then for each namespace of the caller."""
    own = namespaces_of(session, caller)
    if not wanted.author:
        yield {"private": False}
        yield from ({"private": True, "namespace": number} for number in sorted(own))
        return
    author = find_namespace(session, wanted.author)
    if author is None:
        return
    yield {"private": False, "namespace": author.id}
    if author.id in own:
        yield {"private": True, "namespace": author.id}


def _rarest_first(session: Session, tags: Sequence[str]) -> list[str]:
    unique = list(dict.fromkeys(tags))
    if len(unique) < 2:
        return unique
    return sorted(unique, key=lambda tag: _count(session, tag))


def _count(session: Session, tag: str) -> int:
    """Return how many repositories have a tag, counted only up to where it no longer matters."""
    return int(session.connection().scalar(_TAGGED, {"tag": tag}) or 0)


def _worth_looking_up(session: Session, limit: int) -> int:
    """Return how many may fulfil a condition for looking all up to cost less than meeting enough.

    Of N repositories, n of them such, one goes through limit * N / n to meet enough.
    """
    highest = session.connection().scalar(_HIGHEST) or 0
    return isqrt(limit * highest)


def cursor_after(last: Seen, sort: SortKey) -> str:
    """Return where a list goes on after a repository."""
    value = getattr(last, sort)
    if isinstance(value, datetime):
        value = value.isoformat()
    return base64.urlsafe_b64encode(json.dumps([value, last.id]).encode()).decode()


def _read_cursor(cursor: str, sort: SortKey) -> tuple[datetime | int, int]:
    try:
        if len(cursor) > _MAX_CURSOR_LENGTH:
            raise ValueError("too long")
        value, last_id = json.loads(base64.urlsafe_b64decode(cursor))
        number = int(last_id)
        start = int(value) if sort is SortKey.DOWNLOADS else datetime.fromisoformat(value)
        if isinstance(start, datetime):
            start = start.astimezone(UTC)
        for integer in (number, start if isinstance(start, int) else 0):
            if abs(integer) >= _MAX_INTEGER:
                raise ValueError("too large")
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadRequestError("The cursor is not one that this hub gave out.") from error
    return start, number
