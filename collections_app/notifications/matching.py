"""Which rules notify of an event, and the notifications that wait to be sent because of it.

A rule notifies of a problem once, and then of the recovery. In between, it is silent, or notifies of every
Nth event. Everything here needs the transaction that records the event.
"""

from collections.abc import Iterable
from datetime import datetime, time
from typing import Any

from django.db.models import Exists, OuterRef
from django.utils import timezone

from collections_app.models import (
    Channel,
    Collection,
    Event,
    EventKind,
    Mute,
    Notification,
    NotificationState,
    OpenProblem,
    Rule,
)
from collections_app.models.collections import CollectionQuerySet
from collections_app.models.time_zones import days_before, zone

# The events that a collection recovers from.
PROBLEMS = frozenset(
    {
        EventKind.RUN_FAILED,
        EventKind.RUN_STALLED,
        EventKind.RUN_INCOMPLETE,
        EventKind.RUN_EMPTY,
        EventKind.RUN_BROKEN,
        EventKind.COLLECTION_LATE,
    }
)
_FAILURES = {EventKind.RUN_FAILED, EventKind.RUN_STALLED}


def notify(event: Event) -> list[Notification]:
    """Write the notifications of an event, unless it tells the receivers nothing new."""
    rules = [rule for rule in matching_rules(event) if _is_news(rule, event)]
    if event.kind == EventKind.COLLECTION_RECOVERED:
        OpenProblem.objects.filter(collection=event.collection_id).delete()
    if rules and event.kind in _FAILURES:
        _drop_late(event, rules)
    return write_notifications(event, rules)


def matching_rules(event: Event) -> list[Rule]:
    """Return the rules for events of this kind and collection, the oldest first, unless they are muted.

    An account's events concern all of its collections.
    """
    subjects = _collections_of(event)
    listed = Rule.collections.through.objects.filter(rule=OuterRef("pk"))
    muted = Mute.objects.filter(rule=OuterRef("pk"), collection=event.collection_id, key="")
    found = Rule.objects.filter(~Exists(muted), team=event.team_id, is_on=True).annotate(
        has_list=Exists(listed), lists_it=Exists(listed.filter(collection__in=subjects))
    )
    kind = [rule for rule in found.select_related("channel__team").order_by("pk") if event.kind in rule.kinds]
    return [rule for rule in kind if _applies(rule, subjects)]


def write_notifications(event: Event, rules: Iterable[Rule]) -> list[Notification]:
    """Write one notification for each channel of the rules: due now or, for a digest, at its hour."""
    now = timezone.now()
    by_channel = {rule.channel_id: rule for rule in reversed([*rules])}
    return Notification.objects.bulk_create(
        Notification(event=event, channel=rule.channel, rule=rule, due_at=due_at(rule.channel, now))
        for rule in by_channel.values()
    )


def due_at(channel: Channel, now: datetime) -> datetime:
    """Return when to send a notification that is written now."""
    if channel.digest_hour is None:
        return now
    at, its_zone = time(channel.digest_hour), zone(channel.team.time_zone)
    today = days_before(now, 0, at, its_zone)
    return today if today > now else days_before(now, -1, at, its_zone)


def _collections_of(event: Event) -> CollectionQuerySet:
    collections = Collection.objects.filter(team=event.team_id)
    if event.collection_id is not None:
        return collections.filter(pk=event.collection_id)
    return collections.current().filter(account=event.data.get("account"))


def _applies(rule: Any, subjects: CollectionQuerySet) -> bool:
    """Return whether the rule is for one of the collections. Without a list and a text, it is for all."""
    if rule.lists_it or not (rule.has_list or rule.collections_like):
        return True
    return bool(rule.collections_like) and subjects.named_like(rule.collections_like).exists()


def _is_news(rule: Rule, event: Event) -> bool:
    """Return whether the rule notifies of the event: of the first problem, every Nth, and the recovery."""
    if event.kind == EventKind.COLLECTION_RECOVERED:
        return OpenProblem.objects.filter(rule=rule, collection=event.collection_id).exists()
    if event.kind not in PROBLEMS or event.collection_id is None:
        return True
    open_problem, _ = OpenProblem.objects.get_or_create(rule=rule, collection_id=event.collection_id)
    is_news = _count(open_problem, event.kind)
    open_problem.save(update_fields=["kinds", "silent"])
    return is_news


def _count(open_problem: OpenProblem, kind: str) -> bool:
    """Count the event, and return whether the rule notifies of it."""
    every = open_problem.rule.repeat_every
    if kind not in open_problem.kinds:
        open_problem.kinds = [*open_problem.kinds, kind]
    elif not every or open_problem.silent + 1 < every:
        open_problem.silent += 1
        return False
    open_problem.silent = 0
    return True


def _drop_late(event: Event, rules: Iterable[Rule]) -> None:
    """Delete what waits to say that the run is late, because its failure says more."""
    Notification.objects.filter(
        channel__in={rule.channel_id for rule in rules},
        state=NotificationState.WAITING,
        attempts=0,
        event__kind=EventKind.COLLECTION_LATE,
        event__collection_id=event.collection_id,
    ).delete()
