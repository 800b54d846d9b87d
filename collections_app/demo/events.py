"""The events of the demo's runs, which a worker would have recorded at the time."""

from datetime import datetime, timedelta

from django.db import transaction

from collections_app.events.actors import SYSTEM
from collections_app.events.discovery import discover, record_run
from collections_app.events.record import record
from collections_app.models import Collection, Event, EventKind, Run, State
from collections_app.models.acknowledgments import Problem
from collections_app.models.conditions import PROBLEMS
from collections_app.models.runs import PAST

# How far back events reach. Earlier runs have none.
_RECORDED = timedelta(days=14)


@transaction.atomic
def record_history(now: datetime) -> None:
    """Record the events of the last two weeks in their order, with their times, and those of problems now."""
    ended = Run.objects.filter(announced="").exclude(state=State.PROCESSING)
    ended.filter(updated_at__lt=now - _RECORDED).update(announced=PAST)
    problems: dict[int, Problem] = {}
    for run in ended.select_related("collection").order_by("updated_at", "pk"):
        events = [record_run(run)]
        problem = problems.pop(run.collection_id, None)
        if run.status in PROBLEMS:
            problems[run.collection_id] = PROBLEMS[run.status]
        elif problem:
            recovered = EventKind.COLLECTION_RECOVERED
            events.append(record(recovered, run=run, data={"problem": problem}, actor=SYSTEM, in_feed=True))
        Event.objects.filter(pk__in=[event.pk for event in events]).update(at=run.updated_at)
        Run.objects.filter(pk=run.pk).update(announced=run.state)
    for collection_id in Collection.objects.values_list("pk", flat=True):
        discover(collection_id)
