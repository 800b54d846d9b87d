"""The runs to judge: new ones, the newest first, then those whose baseline has changed, the oldest first."""

from collections.abc import Collection as Group

from django.db import transaction
from django.db.models import F, QuerySet

from collections_app.models import Run, Slice, SliceState, TrackingSettings, Verdict


def has_due() -> bool:
    """Whether there are runs to judge."""
    return (
        Slice.objects.ready().filter(needs_verdict=True).exists()
        or _due().exists()
        or _with_new_keys().exists()
    )


def next_run(except_for: Group[int] = ()) -> Run | None:
    """Return the next run to judge, or None. `except_for` are the ids of runs to skip."""
    _mark_after_new_keys()
    runs = Run.objects.select_related("collection__account").exclude(pk__in=except_for)
    unjudged = Slice.objects.ready().filter(needs_verdict=True).values("run")
    newest = runs.filter(pk__in=unjudged).newest_first().first()
    if newest is not None:
        return newest
    return runs.filter(pk__in=_due().values("run")).order_by("created_at", "number").first()


def _due() -> QuerySet[Verdict]:
    return Verdict.objects.filter(is_due=True, run__slice__state=SliceState.READY)


def _with_new_keys() -> QuerySet[TrackingSettings]:
    return TrackingSettings.objects.exclude(verdicts_version=F("version"))


def _mark_after_new_keys() -> None:
    """Mark the verdicts of collections whose key has changed."""
    for settings in _with_new_keys():
        with transaction.atomic():
            current = TrackingSettings.objects.select_for_update().get(pk=settings.pk)
            old = Verdict.objects.filter(run__collection=settings.collection_id)
            old.exclude(settings_version=current.version).update(is_due=True)
            TrackingSettings.objects.filter(pk=settings.pk).update(verdicts_version=current.version)
