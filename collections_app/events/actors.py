"""Who causes events: the user or API key of a request, a command, or the system itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from collections_app.models.events import ActorKind


@dataclass(frozen=True)
class Actor:
    """Who causes an event, and from where."""

    kind: ActorKind
    id: int | None = None  # of the user, also if the user's API key was used
    name: str = ""
    address: str = ""
    browser: str = ""


SYSTEM = Actor(ActorKind.SYSTEM, name="System")
_current: ContextVar[Actor] = ContextVar("actor", default=SYSTEM)


def current_actor() -> Actor:
    """Return who is acting in this thread."""
    return _current.get()


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Attribute events within the block to the actor."""
    token = _current.set(actor)
    try:
        yield
    finally:
        _current.reset(token)
