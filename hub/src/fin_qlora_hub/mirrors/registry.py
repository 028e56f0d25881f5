"""Mirrored repositories in the metadata: whose they are, what they follow, what is still to come.

A namespace of another hub is a namespace here, of a kind of its own: its name is taken, nobody
writes there, and its members, or everyone, may read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import MIRROR, Caller, find_namespace, role_in
from fin_qlora_hub.access.names import check_namespace, check_repository_name
from fin_qlora_hub.access.protection import is_held, require_loose, require_movable
from fin_qlora_hub.access.visibility import Kind, RepositoryName
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.contents.awaited import Awaited, arrived, note_to_come
from fin_qlora_hub.contents.largefiles import held_sizes
from fin_qlora_hub.errors import AlreadyExistsError, NotFoundError
from fin_qlora_hub.git.references import BRANCHES, DEFAULT_BRANCH, require_no_twin
from fin_qlora_hub.git.trees import Tree, store_tree
from fin_qlora_hub.metadata.tables import (
    Commit,
    Mirror,
    MirrorRevision,
    Namespace,
    Reference,
    Repository,
)
from fin_qlora_hub.mirrors.upstream import UpstreamCommit
from fin_qlora_hub.repositories.repository import add_empty, find_repository, remove, set_visibility
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.stores.blobs import Content

_MAIN = BRANCHES + DEFAULT_BRANCH


@dataclass(frozen=True)
class Taken:
    """A revision that is about to become visible; `to_come` are the contents that are not here.

    `reference` is the full name of the branch or tag, None for a commit by itself.
    """

    name: RepositoryName
    oid: str
    reference: str | None
    tree: Tree
    described: UpstreamCommit
    held: Sequence[Content]
    to_come: Sequence[Awaited]


def allows(settings: Settings, name: RepositoryName) -> bool:
    """Say whether a repository may be mirrored when somebody reads it."""
    prefix = "datasets/" if name.kind is Kind.DATASET else ""
    wanted = f"{prefix}{name}".lower()
    return any(fnmatchcase(wanted, pattern.lower()) for pattern in settings.mirror_allow)


def allowed_namespaces(settings: Settings) -> set[str]:
    """Return the namespaces of what may be mirrored when somebody reads it."""
    return {p.removeprefix("datasets/").partition("/")[0] for p in settings.mirror_allow}


def reserve(session: Session, settings: Settings) -> list[str]:
    """Take the namespaces of all that may be mirrored, and let those read whom the settings name.

    Returns those that were users or organizations of this hub before: nothing is mirrored there.
    """
    names = {
        pattern.removeprefix("datasets/").partition("/")[0] for pattern in settings.mirror_allow
    }
    taken = []
    for name in sorted(names):
        try:
            _reserve(session, name)
        except AlreadyExistsError:
            taken.append(name)
    private = settings.mirror_readers != "everyone"
    mine = select(Repository).join(Mirror, Mirror.repository_id == Repository.id)
    for repository in session.scalars(mine.where(Repository.private.is_not(private))).all():
        if not is_held(session, repository):
            set_visibility(session, repository, private=private)
    return taken


def _reserve(session: Session, name: str) -> Namespace:
    known = find_namespace(session, name)
    if known is None:
        check_namespace(name, what="Namespace")
        known = Namespace(
            name=name,
            name_key=name.lower(),
            kind=MIRROR,
            full_name=name,
            email=None,
            created_at=datetime.now(UTC),
        )
        session.add(known)
        session.flush()
    if known.kind != MIRROR:
        raise AlreadyExistsError(
            f"{known.name} is a user or an organization of this hub: nothing is mirrored there."
        )
    return known


def may_read(session: Session, settings: Settings, name: RepositoryName, caller: Caller) -> bool:
    """Say whether a caller may read what is mirrored under a name, whether it is here or not.

    A token that is limited to something else has nothing fetched, even where everyone may read.
    """
    namespace = find_namespace(session, name.namespace)
    if namespace is None or namespace.kind != MIRROR:
        return False
    named = (name.kind, name.name)
    if settings.mirror_readers == "everyone":
        return caller.reach is None or caller.reach.holds(namespace.name, of=named)
    return role_in(session, caller, namespace, of=named) is not None


def find_mirror(session: Session, name: RepositoryName) -> Mirror | None:
    """Return the mirror of a repository, by its name."""
    return session.scalar(
        select(Mirror)
        .join(Namespace, Namespace.id == Mirror.namespace_id)
        .where(
            Mirror.kind == name.kind,
            Namespace.name_key == name.namespace.lower(),
            Mirror.name_key == name.name.lower(),
        )
    )


def begin(session: Session, name: RepositoryName, *, upstream: str, whole: bool) -> Mirror:
    """Return the mirror of a repository, a new one if need be; nobody sees any of it yet.

    Raises AlreadyExistsError where this hub has a repository or an owner of that name by itself.
    """
    namespace = _reserve(session, name.namespace)
    namespace.name = namespace.full_name = name.namespace  # as it is written there
    mirror = find_mirror(session, name)
    if mirror is None:
        check_repository_name(name.name)
        if find_repository(session, name) is not None:
            raise AlreadyExistsError(
                f"This hub has a {name.kind} {name} of its own, which stays: nothing is mirrored."
            )
        mirror = Mirror(
            kind=name.kind,
            namespace_id=namespace.id,
            name_key=name.name.lower(),
            repository_id=None,
            upstream=upstream,
            whole=whole,
            created_at=datetime.now(UTC),
        )
        session.add(mirror)
        session.flush()
    mirror.upstream = upstream
    mirror.whole = mirror.whole or whole
    return mirror


def is_here(session: Session, mirror: Mirror, oid: str) -> bool:
    """Say whether a commit of a mirrored repository can be read."""
    if mirror.repository_id is None:
        return False
    return session.get(Commit, (mirror.repository_id, oid)) is not None


def keep(session: Session, settings: Settings, mirror: Mirror, taken: Taken) -> Repository:
    """Make a revision visible under the id that it has on the other hub; all of it or nothing.

    The session must be a writing one, and what is `held` must be in the store.
    """
    repository = None
    if mirror.repository_id is not None:
        repository = session.get_one(Repository, mirror.repository_id)
    if repository is None:
        namespace = session.get_one(Namespace, mirror.namespace_id)
        private = settings.mirror_readers != "everyone"
        repository = add_empty(session, taken.name, namespace, private=private)
        mirror.repository_id = repository.id
    former = _where(session, repository, taken.reference)
    arrived(session, mirror, taken.held)
    missing = {one.content.sha256: one for one in taken.to_come}
    for sha256 in held_sizes(session, repository.id, missing):  # another server was faster
        del missing[sha256]
    note_to_come(session, mirror.id, missing.values())
    store_tree(session, repository.id, taken.tree)
    _keep_commit(session, repository, taken)
    session.flush()
    if taken.reference is not None:
        _point(session, repository, taken.reference, taken.oid)
    main = session.get(Reference, (repository.id, _MAIN))
    if main is None:  # until `main` itself is mirrored, it is what was mirrored first
        _point(session, repository, _MAIN, taken.oid)
    note_checked(session, mirror, taken.reference or taken.oid, taken.oid)
    repository.updated_at = datetime.now(UTC)
    _record(session, mirror, repository, taken.reference, taken.oid, former)
    return repository


def _keep_commit(session: Session, repository: Repository, taken: Taken) -> None:
    if session.get(Commit, (repository.id, taken.oid)) is not None:
        return
    described = taken.described
    query = select(Commit.oid).where(
        Commit.repository_id == repository.id, Commit.oid.in_(described.before)
    )
    known = set(session.scalars(query))
    session.add(
        Commit(
            repository_id=repository.id,
            oid=taken.oid,
            tree_oid=taken.tree.root,
            # What lies between the two is not here: the nearest one before it that is.
            parent_oid=next((oid for oid in described.before if oid in known), None),
            author=described.author[:96],
            title=described.title,
            message=described.message,
            request_digest="",
            created_at=described.moment,
        )
    )


def _point(session: Session, repository: Repository, name: str, oid: str) -> None:
    known = session.get(Reference, (repository.id, name))
    if known is not None and known.commit_oid != oid:
        require_movable(session, repository, [name])
    if known is not None:
        known.commit_oid = oid
        return
    require_no_twin(session, repository, name)
    session.add(
        Reference(
            repository_id=repository.id,
            name=name,
            commit_oid=oid,
            message=None,
            created_at=datetime.now(UTC),
        )
    )


def point(session: Session, mirror: Mirror, reference: str | None, oid: str) -> None:
    """Let a branch or tag name a commit that is here already, and note that it was looked up."""
    repository = session.get_one(Repository, mirror.repository_id)
    followed = session.get(MirrorRevision, (mirror.id, reference or oid))
    if followed is None or followed.commit_oid != oid:
        former = _where(session, repository, reference)
        _record(session, mirror, repository, reference, oid, former)
    if reference is not None:
        _point(session, repository, reference, oid)
    note_checked(session, mirror, reference or oid, oid)


def _where(session: Session, repository: Repository, reference: str | None) -> str | None:
    known = session.get(Reference, (repository.id, reference)) if reference else None
    return None if known is None else known.commit_oid


def _record(
    session: Session,
    mirror: Mirror,
    repository: Repository,
    reference: str | None,
    oid: str,
    former: str | None,
) -> None:
    what = {"upstream": mirror.upstream, "ref": reference, "commit": oid, "former": former}
    record(session, Act.REPOSITORY_MIRRORED, repository, **what)


def note_checked(session: Session, mirror: Mirror, revision: str, oid: str) -> None:
    """Note where the other hub had a revision just now."""
    session.merge(
        MirrorRevision(
            mirror_id=mirror.id,
            revision=revision,
            commit_oid=oid,
            checked_at=datetime.now(UTC),
            problem=None,
        )
    )


def note_problem(session: Session, mirror: Mirror, revision: str, problem: str) -> None:
    """Note what went wrong with a revision that is here; it stays."""
    names = (revision, f"refs/heads/{revision}", f"refs/tags/{revision}")
    session.execute(
        update(MirrorRevision)
        .where(MirrorRevision.mirror_id == mirror.id, MirrorRevision.revision.in_(names))
        .values(problem=problem)
    )


def checked_at(session: Session, mirror: Mirror, revision: str) -> datetime | None:
    """Return when a branch or tag was last looked up on the other hub."""
    names = (revision, f"refs/heads/{revision}", f"refs/tags/{revision}")
    return session.scalar(
        select(func.max(MirrorRevision.checked_at)).where(
            MirrorRevision.mirror_id == mirror.id, MirrorRevision.revision.in_(names)
        )
    )


def remove_mirror(
    session: Session, settings: Settings, name: RepositoryName, revision: str | None = None
) -> None:
    """Remove a mirrored repository, or follow one of its revisions no longer.

    Its namespace becomes free once nothing is mirrored there, nor may be.
    """
    mirror = find_mirror(session, name)
    if mirror is None:
        raise NotFoundError(f"{name} is not mirrored here.")
    if revision is not None:
        _unfollow(session, mirror, name, revision)
        return
    namespace = session.get_one(Namespace, mirror.namespace_id)
    if mirror.repository_id is not None:
        remove(session, session.get_one(Repository, mirror.repository_id))
    session.delete(mirror)
    session.flush()
    others = select(Mirror.id).where(Mirror.namespace_id == namespace.id)
    local = select(Repository.id).where(Repository.namespace_id == namespace.id)
    if (
        namespace.name_key not in {name.lower() for name in allowed_namespaces(settings)}
        and session.scalar(others.limit(1)) is None
        and session.scalar(local.limit(1)) is None
    ):
        session.delete(namespace)


def _unfollow(session: Session, mirror: Mirror, name: RepositoryName, revision: str) -> None:
    for full in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
        followed = session.get(MirrorRevision, (mirror.id, full))
        if followed is not None:
            session.delete(followed)
            repository = session.get_one(Repository, mirror.repository_id)
            require_loose(session, repository)
            record(session, Act.MIRRORING_ENDED, repository, ref=full)
            reference = session.get(Reference, (mirror.repository_id, full))
            if reference is not None and full != _MAIN:
                require_movable(session, repository, [full])
                session.delete(reference)
            return
    raise NotFoundError(f"{revision} of {name} is not mirrored here.")
