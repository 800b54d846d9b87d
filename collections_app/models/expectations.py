"""When the next run of a collection is expected, and when it becomes late.

A collection stores both times. So SQL can filter lists by them, and they are right even if no worker runs.
`expect_next_run` updates both. Call it whenever a run is created or deleted, or the schedule changes.
"""

from contextlib import suppress
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from collections_app.models.collections import Collection
from collections_app.models.rhythm import LEARNED_FROM, Expected, Rhythm, learn
from collections_app.models.schedules import Schedule
from collections_app.models.teams import User
from collections_app.models.time_zones import zone


def schedule_of(collection: Collection) -> Schedule | None:
    """Return the collection's schedule, or None if nobody set one."""
    return Schedule.objects.filter(collection=collection).first()


def learned_rhythm(collection: Collection) -> Rhythm | None:
    """Return the rhythm of the collection's last 20 runs, or None if they are irregular."""
    return _learn(_newest_times(collection), collection)


def expect_next_run(collection: Collection) -> None:
    """Store when the collection's next run is expected, if that is known. Needs a transaction."""
    # Without the lock, a concurrent transaction could store a time that it computed from older runs.
    locked = Collection.objects.select_for_update(of=("self",))
    current = locked.select_related("team").get(pk=collection.pk)
    expected = _expected(current)
    current.expected_at = expected.at if expected else None
    current.late_at = expected.late_at if expected else None
    current.save(update_fields=["expected_at", "late_at"])
    collection.expected_at, collection.late_at = current.expected_at, current.late_at


def _expected(collection: Collection) -> Expected | None:
    times, schedule = _newest_times(collection), schedule_of(collection)
    rhythm = schedule.rhythm if schedule else _learn(times, collection)
    begin = times[0] if times else schedule.created_at if schedule else None
    if rhythm is None or begin is None:
        return None
    with suppress(OverflowError):  # an account may report any time, even in the year 9999
        return rhythm.next_after(max(begin, collection.watched_from or begin))
    return None


def _newest_times(collection: Collection) -> list[datetime]:
    return list(collection.runs.newest_first().values_list("created_at", flat=True)[:LEARNED_FROM])


def _learn(times: list[datetime], collection: Collection) -> Rhythm | None:
    with suppress(OverflowError):
        return learn(times, zone(collection.team.time_zone))
    return None


@transaction.atomic
def set_schedule(collection: Collection, **fields: Any) -> Schedule:
    """Create or change the schedule of a collection. Raises ValidationError."""
    schedule = schedule_of(collection) or Schedule(collection=collection)
    for name, value in fields.items():
        setattr(schedule, name, value)
    schedule.full_clean(exclude=["collection"])  # saving it fails if that was deleted
    schedule.save()
    expect_next_run(collection)
    return schedule


@transaction.atomic
def remove_schedule(collection: Collection) -> None:
    """Delete the schedule, so that the rhythm is learned again."""
    Schedule.objects.filter(collection=collection).delete()
    expect_next_run(collection)


def pause(collection: Collection, *, by: User) -> None:
    """Pause a collection, unless it is paused. A paused collection is never late and has no problem."""
    Collection.objects.filter(pk=collection.pk, paused_at=None).update(paused_at=timezone.now(), paused_by=by)
    collection.refresh_from_db(fields=["paused_at", "paused_by"])


@transaction.atomic
def resume(collection: Collection) -> None:
    """Resume a paused collection. Runs that were missed meanwhile don't make it late."""
    collection.paused_at = collection.paused_by = None
    collection.watched_from = timezone.now()
    collection.save(update_fields=["paused_at", "paused_by", "watched_from"])
    expect_next_run(collection)


@transaction.atomic
def restore(collection: Collection) -> None:
    """Show an archived collection in the list again. Runs that were missed meanwhile don't make it late."""
    collection.archived_at = None
    collection.watched_from = timezone.now()
    collection.save(update_fields=["archived_at", "watched_from"])
    expect_next_run(collection)
