"""Workers may be killed at any point, and several may run at once: each event is recorded exactly once."""

import os
import signal
from itertools import count
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from collections_app.management.worker import Announcer
from collections_app.models import Collection, Event, EventSequence, Notification, OpenProblem, Run, Team
from collections_app.notifications import announce as announcing
from collections_app.notifications.announce import announce
from collections_app.runs.removal import delete_run
from tests.support.notifications import make_channel, make_rule
from tests.support.run_history import KINDS
from tests.support.upstream import NOON
from tests.test_one_writer_at_a_time import at_once
from tests.test_writer_killed import is_killed, kill_at

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover]

POINTS: list[tuple[Any, str]] = [(CursorWrapper, "execute"), (BaseDatabaseWrapper, "_commit")]


@pytest.fixture(autouse=True)
def rule(crawlers: Team) -> None:
    make_rule(make_channel(crawlers))


def add_run(collection: Collection) -> Run:
    number = 1 + collection.runs.count()
    return Run.objects.create(collection=collection, number=number, created_at=NOON, **KINDS["f"])


def recorded() -> tuple[list[int | None], int]:
    """Return the sequence numbers of the events, and the number of notifications."""
    events = Event.objects.order_by("pk").values_list("sequence", flat=True)
    return list(events), Notification.objects.count()


@pytest.mark.thorough
def test_killed_at_every_point_an_event_and_its_notification_are_recorded_once(laptops: Collection) -> None:
    def act() -> None:
        announce(laptops.pk)

    for point in count(1):
        Event.objects.all().delete()
        Run.objects.all().delete()
        EventSequence.objects.all().delete()
        OpenProblem.objects.all().delete()
        add_run(laptops)
        killed = is_killed(lambda point=point: kill_at(POINTS, point, act))  # type: ignore[misc]
        events, notifications = recorded()
        assert len(events) == notifications
        announce(laptops.pk)
        assert recorded()[1] == len(recorded()[0]) == 1
        if not killed:
            break
    assert point > 20


def test_a_kill_before_the_commit_loses_nothing(laptops: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    add_run(laptops)

    def die(event: Event) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def act() -> None:
        monkeypatch.setattr(announcing, "notify", die)  # in the child
        announce(laptops.pk)

    assert is_killed(act)
    assert recorded() == ([], 0)
    Announcer().run_once()
    assert recorded() == ([1], 1)


def test_an_event_without_its_notification_is_not_recorded(
    laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(laptops)

    def fail(event: Event) -> None:
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(announcing, "notify", fail)
        with pytest.raises(DatabaseError):
            announce(laptops.pk)
    assert recorded() == ([], 0)
    Announcer().run_once()
    assert recorded() == ([1], 1)


def test_several_workers_at_once_record_each_event_once(laptops: Collection, headphones: Collection) -> None:
    for collection in (laptops, headphones):
        for _ in range(10):
            add_run(collection)
    at_once(*[lambda: Announcer().run_once()] * 3)
    while Announcer().run_once():
        pass
    assert recorded() == (list(range(1, 21)), 2)
    assert Event.objects.values("collection_id", "run_number").distinct().count() == 20


@pytest.mark.postgresql(reason="SQLite locks the entire database")
def test_a_run_that_is_being_deleted_is_announced_later(laptops: Collection) -> None:
    run = add_run(laptops)
    with transaction.atomic():
        Run.objects.select_for_update().get(pk=run.pk)
        assert at_once(lambda: announce(laptops.pk)) == [0]
    assert announce(laptops.pk) == 1
    delete_run(run)
    assert recorded()[0][:1] == [1]
