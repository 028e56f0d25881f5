"""What webhooks are told of an act: the payload that the public hub sends, version 3."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import find_namespace
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import last_words
from fin_qlora_hub.git.references import BRANCHES, DEFAULT_BRANCH
from fin_qlora_hub.metadata.tables import (
    Discussion,
    DiscussionEvent,
    Membership,
    Reference,
    Repository,
)
from fin_qlora_hub.repositories.discussions import find_comment, first_comment

VERSION = 3
Row = Mapping[str, Any]
Json = dict[str, Any]

_REPOSITORY = dict.fromkeys((Act.REPOSITORY_CREATED, Act.REPOSITORY_DUPLICATED), "create")
_CONFIGURATION = (Act.VISIBILITY_CHANGED, Act.GATE_CHANGED)
_CONTENT = (
    *(Act.BRANCH_CREATED, Act.BRANCH_DELETED, Act.BRANCH_COMMITTED, Act.BRANCH_SQUASHED),
    *(Act.TAG_CREATED, Act.TAG_DELETED, Act.CONTENTS_DELETED, Act.REPOSITORY_IMPORTED),
    Act.REPOSITORY_MIRRORED,
)
_DISCUSSION = (
    *(Act.DISCUSSION_RENAMED, Act.DISCUSSION_CLOSED, Act.DISCUSSION_REOPENED),
    Act.PULL_REQUEST_MERGED,
)
# Action and scope of each act of which webhooks are told.
EVENTS: Mapping[Act, tuple[str, str]] = {
    Act.REPOSITORY_DELETED: ("delete", "repo"),
    Act.REPOSITORY_MOVED: ("move", "repo"),
    Act.DISCUSSION_OPENED: ("create", "discussion"),
    Act.COMMENT_ADDED: ("create", "discussion.comment"),
    Act.COMMENT_EDITED: ("update", "discussion.comment"),
    Act.COMMENT_HIDDEN: ("update", "discussion.comment"),
    **{act: (action, "repo") for act, action in _REPOSITORY.items()},
    **dict.fromkeys(_CONFIGURATION, ("update", "repo.config")),
    **dict.fromkeys(_CONTENT, ("update", "repo.content")),
    **dict.fromkeys(_DISCUSSION, ("update", "discussion")),
}


@dataclass(frozen=True)
class Subject:
    """The repository that a record is about, as far as it is there still.

    `names` are full names that it has or had at the act, the record's first.
    """

    id: int
    kind: str
    names: tuple[str, ...]
    private: bool
    owner_id: int
    repository: Repository | None


def subject_of(session: Session, row: Row) -> Subject | None:
    """Return what a record is about; None where nobody could be told of it any more."""
    if row["repository_id"] is None:
        return None
    kind, name = _kind_and_name(row["repository"])
    names = [name]
    if row["act"] == Act.REPOSITORY_MOVED:
        names.insert(0, _kind_and_name(row["details"]["former"])[1])
    repository = session.get(Repository, row["repository_id"])
    if repository is not None:
        private, owner = repository.private, repository.namespace_id
    else:  # whoever could read it at its end may still be told
        last = last_words(session, row["repository_id"])
        if last is None:
            return None
        private, owner = last["private"], last["owner"]
    return Subject(row["repository_id"], kind, tuple(names), private, owner, repository)


def may_read(session: Session, user_id: int, subject: Subject) -> bool:
    """Say whether a user may know of a repository."""
    if not subject.private or subject.owner_id == user_id:
        return True
    return session.get(Membership, (subject.owner_id, user_id)) is not None


def payload(session: Session, row: Row, subject: Subject, *, url: str) -> Json:
    """Return what is told of a record; `url` is where clients find the hub."""
    action, scope = EVENTS[Act(row["act"])]
    told: Json = {
        "event": {"action": action, "scope": scope},
        "repo": _repository(session, subject, url=url),
    }
    details = row["details"]
    if row["act"] == Act.REPOSITORY_MOVED:
        owner = {"id": _key(subject.owner_id)}
        told["movedTo"] = {"name": subject.names[1], "owner": owner}
    if scope == "repo.content":
        told["updatedRefs"] = _updated(session, row)
    elif scope == "repo.config":
        told["updatedConfig"] = {
            "gated" if name == "gate" else name: value or False for name, value in details.items()
        }
    elif scope.startswith("discussion") and subject.repository is not None:
        _add_discussion(session, told, subject, row, url=url)
    return told


def _repository(session: Session, subject: Subject, *, url: str) -> Json:
    name = subject.names[0]
    shown = {
        "type": subject.kind,
        "name": name,
        "id": _key(subject.id),
        "private": subject.private,
        "url": {"web": _web(subject, url), "api": f"{url}/api/{subject.kind}s/{name}"},
        "owner": {"id": _key(subject.owner_id)},
    }
    if subject.repository is not None:
        main = session.get(Reference, (subject.id, BRANCHES + DEFAULT_BRANCH))
        if main is not None:
            # The public hub writes the one, the client's own model reads the other.
            shown |= {"headSha": main.commit_oid, "head_sha": main.commit_oid}
        shown["tags"] = list(subject.repository.card["tags"])
    return shown


def _updated(session: Session, row: Row) -> list[Json]:
    details = row["details"]
    if row["act"] == Act.CONTENTS_DELETED:
        former = {new: old for old, new in details["commits"].items()}
        query = select(Reference).filter_by(repository_id=row["repository_id"])
        return [
            _moved(reference.name, former[reference.commit_oid], reference.commit_oid)
            for reference in session.scalars(query.order_by(Reference.name))
            if reference.commit_oid in former
        ]
    ref = details.get("ref", BRANCHES + DEFAULT_BRANCH)
    if ref is None:  # a commit that came by itself
        return []
    return [_moved(ref, details.get("former"), details.get("commit"))]


def _moved(ref: str, old: str | None, new: str | None) -> Json:
    return {"ref": ref, "oldSha": old, "newSha": new}


def _add_discussion(session: Session, told: Json, subject: Subject, row: Row, *, url: str) -> None:
    details = row["details"]
    found = session.get_one(Discussion, (subject.id, details["num"]))
    tail = f"/discussions/{found.num}"
    web = _web(subject, url) + tail
    told["discussion"] = {
        "id": f"{subject.id:012x}{found.num:012x}",
        "title": found.title,
        "url": {"web": web, "api": f"{url}/api/{subject.kind}s/{subject.names[0]}{tail}"},
        "status": found.status,
        "author": {"id": _author(session, found.author)},
        "num": found.num,
        "isPullRequest": found.is_pull_request,
    }
    if found.is_pull_request:
        changes = {"base": found.base}
        if found.merge_oid:
            changes["mergeCommitId"] = found.merge_oid
        told["discussion"]["changes"] = changes
    said = None
    if row["act"] == Act.DISCUSSION_OPENED:
        said = first_comment(session, found)
    elif "comment" in details:
        said = find_comment(session, found, details["comment"])
    if said is not None:
        told["comment"] = _comment(session, said, web=web)


def _comment(session: Session, said: DiscussionEvent, *, web: str) -> Json:
    shown = {
        "id": said.key,
        "author": {"id": _author(session, said.author)},
        "hidden": said.content["hidden"],
        "url": {"web": f"{web}#{said.key}"},
    }
    if not said.content["hidden"]:
        shown["content"] = said.content["latest"]["raw"]
    return shown


def _author(session: Session, name: str) -> str:
    found = find_namespace(session, name)
    return _key(0 if found is None else found.id)


def _web(subject: Subject, url: str) -> str:
    return f"{url}/{'' if subject.kind == 'model' else subject.kind + 's/'}{subject.names[0]}"


def _kind_and_name(place: str) -> tuple[str, str]:
    plural, slash, name = place.partition("/")
    if "/" in name:
        return plural.removesuffix("s"), name
    return "model", plural + slash + name


def _key(number: int) -> str:
    return f"{number:024x}"
