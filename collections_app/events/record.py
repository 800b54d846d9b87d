"""Record events. Call this in the transaction of the change, so that both are stored or neither."""

from typing import Any

from collections_app.events.actors import Actor, current_actor
from collections_app.models import Collection, Event, EventKind, Run
from collections_app.models.events import next_sequence

_LONGEST_TARGET = 300


def record(  # noqa: PLR0913  # everything that the log shows
    kind: EventKind,
    *,
    team_id: int | None = None,
    collection: Collection | None = None,
    run: Run | None = None,
    target: str = "",
    data: dict[str, Any] | None = None,
    actor: Actor | None = None,
    in_feed: bool = False,
) -> Event:
    """Store an event, by default of the current actor and the collection's team.

    `data` must not contain secrets. `in_feed` adds it to the feed for scripts, which needs a transaction.
    """
    collection = collection or (run.collection if run else None)
    team_id = collection.team_id if collection else team_id
    actor = actor or current_actor()
    return Event.objects.create(
        kind=kind,
        team_id=team_id,
        sequence=next_sequence(team_id) if in_feed and team_id is not None else None,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
        address=actor.address,
        browser=actor.browser,
        collection_id=collection.pk if collection else None,
        collection_name=collection.name if collection else "",
        run_number=run.number if run else None,
        target=target[:_LONGEST_TARGET],
        data=data or {},
    )


def changed(before: object, after: object) -> dict[str, Any]:
    """Return the data of a change."""
    return {"before": before, "after": after}
