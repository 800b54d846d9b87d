"""Which slice to create next. Teams and collections take turns, and the newest runs come first."""

import time
from collections.abc import Container
from datetime import timedelta
from typing import NamedTuple

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from collections_app.models import Account, Collection, Run, Slice, SliceState, State
from collections_app.models.collections import CollectionQuerySet
from collections_app.models.runs import RunQuerySet
from collections_app.runs.lease import lapsed

# For how many runs of a collection the records are read from its account in the background.
MOST_REMOTE = 30


def pending(*, remote: bool) -> RunQuerySet:
    """Return runs whose slices can be created now, from an account's files or from stored ones."""
    failed = Q(state=SliceState.FAILED, retry_at__gt=timezone.now())
    running = Q(state=SliceState.RUNNING) & ~lapsed()
    waiting = Slice.objects.filter(failed | running, run=OuterRef("pk"))
    return Run.objects.to_slice().filter(~Exists(waiting), is_kept=not remote)


class SliceQueue:
    """The runs that need slices: those whose records an account has to send if `remote`, or the others."""

    def __init__(self, *, remote: bool) -> None:
        self._remote = remote
        self._last: dict[tuple[str, int], float] = {}  # when a team or collection last had its turn

    def next(self, *, paused: Container[int] = ()) -> Run | None:
        """Return the next run. Leave out the accounts with these ids."""
        waiting = [each for each in self._collections() if each.account not in paused]
        for collection in sorted(waiting, key=self._turn):
            run = self._newest(collection.pk)
            if run is not None:
                now = time.monotonic()
                self._last["team", collection.team] = self._last["collection", collection.pk] = now
                return run
        return None

    def has_any(self) -> bool:
        """Whether there may be a next run."""
        return bool(self._collections())

    def _turn(self, collection: "_Waiting") -> tuple[float, float]:
        team, own = ("team", collection.team), ("collection", collection.pk)
        return self._last.get(team, 0.0), self._last.get(own, 0.0)

    def _collections(self) -> "list[_Waiting]":
        """Return the collections with pending runs. For each, the database looks for one run in an index."""
        runs = pending(remote=self._remote).filter(collection=OuterRef("pk"))
        found = Collection.objects.filter(Exists(runs)).order_by("pk")
        found = _readable(found) if self._remote else found
        return [_Waiting(*row) for row in found.values_list("pk", "team", "account")]

    def _newest(self, collection_id: int) -> Run | None:
        if self._remote:
            _skip_older(collection_id)
        runs = pending(remote=self._remote).filter(collection=collection_id).newest_first()
        return runs.select_related("collection__account").first()


class _Waiting(NamedTuple):
    """The ids of a collection with pending runs, its team and its account."""

    pk: int
    team: int
    account: int | None


def _readable(collections: CollectionQuerySet) -> CollectionQuerySet:
    """Return the collections whose accounts may be read now: each account sends one run at a time."""
    busy = Slice.objects.running().filter(~lapsed(), run__is_kept=False)
    # A time further in the future was stored before the clock was set back.
    now = timezone.now()
    must_wait = Q(retry_at__gt=now, retry_at__lte=now + timedelta(seconds=Account.LONGEST_RETRY_AFTER))
    tracking = collections.connected().filter(~must_wait, account__tracks_runs=True)
    return tracking.exclude(account__in=busy.values("run__collection__account"))


def _skip_older(collection_id: int) -> None:
    """Leave the older runs of an account's collection to those who open them."""
    runs = Run.objects.filter(collection=collection_id)
    oldest = runs.filter(state=State.READY).newest_first()[MOST_REMOTE - 1 : MOST_REMOTE].first()
    if oldest is not None:
        runs.to_slice().filter(is_kept=False).before(oldest.cursor).update(needs_slice=False)
