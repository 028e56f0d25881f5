"""What a token is limited to: some namespaces, some repositories."""

from collections.abc import Iterable
from dataclasses import dataclass

from fin_qlora_hub.access.names import check_namespace, check_repository_name
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.text import quoted

MAX_RESOURCES = 100
_PLURALS = {"models": "model", "datasets": "dataset"}


@dataclass(frozen=True)
class Reach:
    """The namespaces and the repositories that a token is limited to, at least one.

    Outside of them its user is as anybody without a role: they read what is public.
    """

    resources: tuple[str, ...]

    @classmethod
    def of(cls, resources: Iterable[str]) -> "Reach":
        """Read `desk`, `desk/name`, `models/desk/name` or `datasets/desk/name`."""
        found = tuple(dict.fromkeys(map(_canonical, resources)))
        if not 1 <= len(found) <= MAX_RESOURCES:
            raise BadRequestError(
                f"A limited token is for 1 to {MAX_RESOURCES} namespaces and repositories."
            )
        return cls(found)

    def holds(self, namespace: str, *, of: tuple[str, str] | None = None) -> bool:
        """Say whether a namespace, or in it one repository (kind and name), is within it."""
        known = {resource.lower() for resource in self.resources}
        if namespace.lower() in known:
            return True
        if of is None:
            return False
        kind, name = of
        return f"{kind}s/{namespace}/{name}".lower() in known

    def within(self, other: "Reach | None") -> bool:
        """Say whether all of it is in another one."""
        return other is None or all(
            other.holds(namespace, of=of) for namespace, of in map(parts, self.resources)
        )


def parts(resource: str) -> tuple[str, tuple[str, str] | None]:
    """Return the namespace of a resource, and the kind and name of a repository."""
    plural, _, rest = resource.partition("/")
    if not rest:
        return resource, None
    namespace, _, name = rest.partition("/")
    return namespace, (_PLURALS[plural], name)


def _canonical(text: str) -> str:
    segments = text.split("/")
    if len(segments) == 1:
        return check_namespace(text, what="Namespace")
    if len(segments) == 2:
        segments = ["models", *segments]
    if len(segments) != 3 or segments[0] not in _PLURALS:
        raise BadRequestError(
            f"{quoted(text)} is nothing that a token can be limited to: write NAMESPACE, "
            "NAMESPACE/NAME or datasets/NAMESPACE/NAME."
        )
    check_namespace(segments[1], what="Namespace")
    check_repository_name(segments[2])
    return "/".join(segments)
