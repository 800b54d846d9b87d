"""Events: who did what to what, recorded once."""

import pytest
from django.db import transaction

from collections_app.events.actors import Actor, acting
from collections_app.events.record import changed, record
from collections_app.models import ActorKind, Collection, Event, EventKind
from tests.support.results import make_ready_run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("results_folder")]

ALICE = Actor(ActorKind.USER, 1, "alice@example.com", "192.0.2.1", "Firefox on Linux")


def test_an_event_names_actor_collection_and_run(laptops: Collection) -> None:
    run = make_ready_run(laptops)
    with acting(ALICE):
        event = record(EventKind.VERDICT_OVERRULED, run=run, data=changed("broken", "trusted"))
    run.delete()
    event.refresh_from_db()
    assert (event.actor_kind, event.actor_name, event.address) == ("user", ALICE.name, ALICE.address)
    assert (event.team_id, event.collection_name, event.run_number) == (laptops.team_id, "AU Laptops", 1)
    assert event.data == {"before": "broken", "after": "trusted"}


def test_without_an_actor_the_system_acted(laptops: Collection) -> None:
    with acting(ALICE):
        pass
    assert record(EventKind.COLLECTION_LATE, collection=laptops).actor_name == "System"


def test_the_feed_counts_per_team_without_gaps(laptops: Collection) -> None:
    for _ in range(2):
        with transaction.atomic():
            record(EventKind.RUN_COMPLETED, collection=laptops, in_feed=True)
            transaction.set_rollback(True)
    for kind in (EventKind.RUN_COMPLETED, EventKind.RUN_FAILED):
        record(EventKind.COLLECTION_PAUSED, collection=laptops)  # not in the feed
        record(kind, collection=laptops, in_feed=True)
    record(EventKind.RUN_COMPLETED, team_id=999, in_feed=True)
    feed = Event.objects.after(laptops.team_id, 0)
    assert [(event.sequence, event.kind) for event in feed] == [(1, "run.completed"), (2, "run.failed")]
