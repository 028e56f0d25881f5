"""What the resources of a limited token are at the moment."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller, find_namespace, role_in
from fin_qlora_hub.access.reach import parts
from fin_qlora_hub.access.visibility import Kind, RepositoryName
from fin_qlora_hub.repositories.repository import find_repository


@dataclass(frozen=True)
class Entity:
    """A namespace (`user` or `org`) or repository (`model` or `dataset`) that a token is for."""

    id: int
    kind: str
    name: str


def entities_of(session: Session, caller: Caller) -> Sequence[Entity]:
    """Return what a limited token is for, as far as it is there and the user has a role in it."""
    found = []
    for resource in caller.reach.resources if caller.reach else ():
        name, of = parts(resource)
        namespace = find_namespace(session, name)
        if namespace is None or role_in(session, caller, namespace, of=of) is None:
            continue
        if of is None:
            found.append(Entity(namespace.id, namespace.kind, namespace.name))
            continue
        kind, own = of
        repository = find_repository(session, RepositoryName(Kind(kind), name, own))
        if repository is not None:
            whole = f"{namespace.name}/{repository.name}"
            found.append(Entity(repository.id, repository.kind, whole))
    return found
