"""Who acts at this moment: told where a request or a command begins, known wherever it counts."""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Means(StrEnum):
    """How somebody acts."""

    REQUEST = "request"
    COMMAND = "command"
    HUB = "hub"


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever acts, as far as is known.

    `name` is a user of the hub, or of the server's machine where a command is given. `token` is the
    name of the token that was shown, `address` where the request came from, `request` its id.
    """

    means: Means = Means.HUB
    name: str | None = None
    token: str | None = None
    address: str | None = None
    request: str | None = None


_NOBODY = Actor()
_actor: ContextVar[Actor] = ContextVar("actor", default=_NOBODY)


def act_as(actor: Actor) -> None:
    """Say who acts from here on, in this request or command."""
    _actor.set(actor)


def identify(*, name: str, token: str | None) -> None:
    """Add to the present request whose it is."""
    known = _actor.get()
    _actor.set(Actor(known.means, name, token, known.address, known.request))


def who_acts() -> Actor:
    """Return who acts."""
    return _actor.get()
