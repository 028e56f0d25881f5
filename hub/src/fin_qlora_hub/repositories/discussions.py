"""Discussions of a repository, pull requests among them, and what happens in each."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller, require_within, role_for
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import BadRequestError, ForbiddenError, NotFoundError
from fin_qlora_hub.git.references import PULL_REQUESTS, find_branch, resolve
from fin_qlora_hub.metadata.tables import Discussion, DiscussionEvent, Reference, Repository

PAGE = 20
MAX_TITLE = 300
MAX_COMMENT = 64 * 1024
MAX_EVENTS = 1000


class Status(StrEnum):
    """Where a discussion stands; drafts and merged ones are pull requests."""

    DRAFT = "draft"
    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"


OPEN_STATUSES = (Status.DRAFT, Status.OPEN)


@dataclass(frozen=True)
class DiscussionSearch:
    """Which discussions to list; every condition must hold."""

    pull_requests: bool | None = None
    open: bool | None = None
    author: str | None = None


def open_discussion(
    session: Session, repository: Repository, *, title: str, description: str, author: Caller
) -> Discussion:
    """Begin a discussion with its first comment."""
    _require_writing_token(session, repository.id, author)
    opened = _open(session, repository, title, description, author, status=Status.OPEN)
    _on_record(session, opened, Act.DISCUSSION_OPENED)
    return opened


def open_pull_request(
    session: Session,
    repository: Repository,
    *,
    title: str,
    description: str,
    author: Caller,
    base: str,
    start: str | None = None,
) -> Discussion:
    """Begin a pull request into a branch, with a branch of its own from `start`, else its head."""
    target = find_branch(session, repository, base)
    commit = resolve(session, repository, start or target.commit_oid)
    opened = _open(session, repository, title, description, author, status=Status.DRAFT)
    opened.is_pull_request = True
    opened.base, opened.base_oid = target.name, commit.oid
    session.add(
        Reference(
            repository_id=repository.id,
            name=f"{PULL_REQUESTS}{opened.num}",
            commit_oid=commit.oid,
            created_at=opened.created_at,
        )
    )
    session.flush()
    _on_record(session, opened, Act.DISCUSSION_OPENED, base=target.name)
    return opened


def find_discussion(session: Session, repository: Repository, num: int) -> Discussion:
    """Return a discussion; raises NotFoundError."""
    found = session.get(Discussion, (repository.id, num)) if 0 < num < 2**31 else None
    if found is None:
        raise NotFoundError(f"There is no discussion {num} here.")
    return found


def list_discussions(
    session: Session, repository: Repository, wanted: DiscussionSearch, *, page: int
) -> tuple[Sequence[Discussion], int]:
    """Return one page, the newest first, and how many there are in all."""
    query = select(Discussion).filter_by(repository_id=repository.id)
    if wanted.pull_requests is not None:
        query = query.where(Discussion.is_pull_request.is_(wanted.pull_requests))
    if wanted.open is not None:
        is_open = Discussion.status.in_(OPEN_STATUSES)
        query = query.where(is_open if wanted.open else ~is_open)
    if wanted.author is not None:
        query = query.where(func.lower(Discussion.author) == wanted.author.lower())
    count = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    ordered = query.order_by(Discussion.num.desc()).limit(PAGE).offset(page * PAGE)
    return session.scalars(ordered).all(), count


def events_of(session: Session, discussion: Discussion) -> Sequence[DiscussionEvent]:
    """Return what happened, oldest first."""
    query = select(DiscussionEvent).filter_by(
        repository_id=discussion.repository_id, num=discussion.num
    )
    return session.scalars(query.order_by(DiscussionEvent.position)).all()


def find_comment(session: Session, discussion: Discussion, key: str) -> DiscussionEvent:
    """Return a comment; raises NotFoundError."""
    query = select(DiscussionEvent).filter_by(
        repository_id=discussion.repository_id, num=discussion.num, kind="comment", key=key
    )
    found = session.scalar(query)
    if found is None:
        raise NotFoundError("There is no such comment here.")
    return found


def first_comment(session: Session, discussion: Discussion) -> DiscussionEvent:
    """Return the words with which a discussion was opened."""
    return session.get_one(DiscussionEvent, (discussion.repository_id, discussion.num, 0))


def comment(
    session: Session, discussion: Discussion, text: str, *, author: Caller
) -> DiscussionEvent:
    """Add a comment."""
    _require_writing_token(session, discussion.repository_id, author)
    said = _happened(session, discussion, "comment", author.name, _comment(text, author.name))
    _on_record(session, discussion, Act.COMMENT_ADDED, comment=said.key)
    return said


def rename(
    session: Session, repository: Repository, discussion: Discussion, title: str, *, author: Caller
) -> DiscussionEvent:
    """Give a discussion another title."""
    _require_say(session, repository, discussion.author, author)
    old, discussion.title = discussion.title, _checked_title(title)
    content = {"from": old, "to": discussion.title}
    _on_record(session, discussion, Act.DISCUSSION_RENAMED, **content)
    return _happened(session, discussion, "title-change", author.name, content)


def change_status(
    session: Session,
    repository: Repository,
    discussion: Discussion,
    status: Status,
    *,
    author: Caller,
    reason: str = "",
) -> DiscussionEvent:
    """Open or close a discussion; only merging makes one merged, and that is its end."""
    _require_say(session, repository, discussion.author, author)
    if discussion.status == Status.MERGED or status not in (Status.OPEN, Status.CLOSED):
        raise BadRequestError(f"A discussion that is {discussion.status} cannot become {status}.")
    discussion.status = status
    if reason:
        comment(session, discussion, reason, author=author)
    closed = status == Status.CLOSED
    act = Act.DISCUSSION_CLOSED if closed else Act.DISCUSSION_REOPENED
    _on_record(session, discussion, act)
    return _happened(session, discussion, "status-change", author.name, {"status": status})


def edit_comment(
    session: Session, discussion: Discussion, key: str, text: str, *, author: Caller
) -> DiscussionEvent:
    """Change the words of one's own comment."""
    _require_writing_token(session, discussion.repository_id, author)
    event = find_comment(session, discussion, key)
    if event.author != author.name:
        raise ForbiddenError("Only who wrote a comment may change it.")
    if event.content["hidden"]:
        raise BadRequestError("The comment is hidden: it cannot be changed.")
    event.content = {**_comment(text, author.name), "edited": True}
    _on_record(session, discussion, Act.COMMENT_EDITED, comment=key)
    return event


def hide_comment(
    session: Session, repository: Repository, discussion: Discussion, key: str, *, author: Caller
) -> DiscussionEvent:
    """Take the words of a comment away for good."""
    event = find_comment(session, discussion, key)
    _require_say(session, repository, event.author, author)
    hidden = _comment("This comment has been hidden", author.name)
    event.content = {**hidden, "edited": event.content["edited"], "hidden": True}
    _on_record(session, discussion, Act.COMMENT_HIDDEN, comment=key)
    return event


def note_commit(
    session: Session, repository: Repository, branch: str, *, oid: str, title: str, author: Caller
) -> None:
    """Note a commit on the branch of a pull request, which must still be open."""
    discussion = find_discussion(session, repository, int(branch.removeprefix(PULL_REQUESTS)))
    if discussion.status not in OPEN_STATUSES:
        raise BadRequestError(
            f"Pull request {discussion.num} is {discussion.status}: open it again, or make another."
        )
    content = {"subject": title, "oid": oid}
    _happened(session, discussion, "commit", author.name, content)


def number_of_commit(session: Session, repository: Repository, oid: str) -> int | None:
    """Return the pull request that a commit was made in, None where none notes it."""
    query = (
        select(DiscussionEvent)
        .filter_by(repository_id=repository.id, kind="commit")
        .order_by(DiscussionEvent.num.desc())
    )
    noted = (e.num for e in session.scalars(query) if e.content["oid"] == oid)
    return next(noted, None)


def note_merge(session: Session, discussion: Discussion, *, oid: str, author: Caller) -> None:
    """Note that a pull request is merged."""
    discussion.status, discussion.merge_oid = Status.MERGED, oid
    _on_record(session, discussion, Act.PULL_REQUEST_MERGED, commit=oid)
    _happened(session, discussion, "status-change", author.name, {"status": Status.MERGED})


def _open(
    session: Session,
    repository: Repository,
    title: str,
    description: str,
    author: Caller,
    *,
    status: Status,
) -> Discussion:
    highest = select(func.max(Discussion.num)).filter_by(repository_id=repository.id)
    opened = Discussion(
        repository_id=repository.id,
        num=(session.scalar(highest) or 0) + 1,
        title=_checked_title(title),
        author=author.name,
        status=status,
        is_pull_request=False,
        created_at=datetime.now(UTC),
    )
    session.add(opened)
    session.flush()
    _happened(session, opened, "comment", author.name, _comment(description, author.name))
    return opened


def _on_record(session: Session, discussion: Discussion, act: Act, **what: str) -> None:
    repository = session.get_one(Repository, discussion.repository_id)
    kind = {"pull_request": discussion.is_pull_request}
    record(session, act, repository, num=discussion.num, **kind, **what)


def _happened(
    session: Session, discussion: Discussion, kind: str, author: str, content: dict[str, Any]
) -> DiscussionEvent:
    mine = {"repository_id": discussion.repository_id, "num": discussion.num}
    last = session.scalar(select(func.max(DiscussionEvent.position)).filter_by(**mine))
    position = 0 if last is None else last + 1
    if position >= MAX_EVENTS:
        raise BadRequestError(f"A discussion ends after {MAX_EVENTS} events: begin another.")
    event = DiscussionEvent(
        **mine,
        position=position,
        key=secrets.token_hex(12),
        kind=kind,
        author=author,
        created_at=datetime.now(UTC),
        content=content,
    )
    session.add(event)
    session.flush()
    return event


def _comment(text: str, author: str) -> dict[str, Any]:
    if not text.strip() or len(text.encode()) > MAX_COMMENT:
        raise BadRequestError(f"A comment has 1 to {MAX_COMMENT:,} bytes.")
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    latest = {"raw": text, "updatedAt": now, "author": {"name": author}}
    return {"edited": False, "hidden": False, "latest": latest}


def _checked_title(title: str) -> str:
    title = " ".join(title.split())
    if not 1 <= len(title) <= MAX_TITLE:
        raise BadRequestError(f"A title has 1 to {MAX_TITLE} characters.")
    return title


def _require_writing_token(session: Session, repository_id: int, author: Caller) -> None:
    if not author.token_role.writes:
        raise ForbiddenError("That needs a token with the role 'write'.")
    require_within(author, session.get_one(Repository, repository_id))


def _require_say(session: Session, repository: Repository, owner: str, author: Caller) -> None:
    """Let in who began it, and who may change the repository."""
    _require_writing_token(session, repository.id, author)
    role = role_for(session, author, repository)
    if owner != author.name and (role is None or not role.writes):
        raise ForbiddenError(
            f"That is for {owner}, or for the role 'write' in {repository.namespace.name!r}."
        )
