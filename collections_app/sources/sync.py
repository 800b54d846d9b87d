"""Synchronize a collection's rows with the account's list of runs.

A collection's rows are one gapless block of the account's list that begins with its newest run, so every page
can be shown from the rows alone. Newer runs are written only when they join the block, all in one
transaction. Older runs are written only from the end of the block, all those with the same time at once.

The account may also add runs within the block, with an older time. The newest page of the list shows some of
them. To find the others, a page of the block is read again after each refresh, one after the other.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from django.utils import timezone

from collections_app.models import Collection, NotConnected
from collections_app.sources import rows
from collections_app.sources.base import SourceBusy, SourceTimeout, SourceUnavailable
from collections_app.sources.missing_runs import MissingRuns
from collections_app.sources.run_list import MAX_PAGES_PER_TIME, OVERLAP, RunListPart
from collections_app.sources.upstream.runs import Listing, RemoteRun, list_runs

# The minimum number of runs to fetch. One more than a page shows, to tell whether there are more.
PAGE = 51
# How many runs to request at once. Only the next page shows whether the last run shares its time.
LIMIT = PAGE + OVERLAP + 1
# How many parts of the list to search for runs that were Processing when last seen.
_SEARCHES = 3

_SLOW = "MultiCartAPI took too long to list its runs. Try again later."
_MAX_PROBLEM_LENGTH = 300


def refresh(collection: Collection, *, seconds: float) -> None:
    """List the account's newest runs until they join the known ones, and write their rows.

    Records the rows' age and any problem on the collection. Doesn't raise the source's errors.
    """
    fetch = _Pages(collection, seconds)
    sought = rows.unfinished(collection)
    unreadable = MissingRuns.of(collection).numbers
    try:
        part, block = _newest(collection, fetch)
        passed = {number for number, moment in sought.items() if part.has_all_of(moment)}
        notes: dict[str, Any] = {"refreshed_at": fetch.look.at, "refresh_problem": ""}
        if (has_older := _has_older(part, block)) is not None:
            notes["has_older_runs"] = has_older
        rows.write(
            collection,
            part,
            _belonging(part, block),
            look=fetch.look,
            not_listed=passed - part.numbers,
            **notes,
        )
        deeper = sought.keys() - passed - part.numbers
        deeper_ones = {number: sought[number] for number in deeper}
        _search(collection, fetch, block, deeper_ones | _unreadable_below(collection, part))
        _find_moved(collection, fetch, block, unreadable - MissingRuns.of(collection).numbers)
    except (NotConnected, SourceUnavailable) as error:
        _note_error(collection, error)


def load_older(collection: Collection, *, seconds: float) -> None:
    """List the account's next runs that are older than the known ones, and write their rows."""
    block = _Block.of(collection)
    if block is None:
        rows.record(collection, has_older_runs=False, refresh_problem="")
        return
    try:
        fetch = _Pages(collection, seconds)
        part = _older(collection, fetch, block)
    except (NotConnected, SourceUnavailable) as error:
        _note_error(collection, error)
    else:
        # Runs newer than all known ones have arrived since, and don't join the block yet.
        joining = [run for run in _belonging(part, block) if run.created_at <= block.newest]
        rows.write(
            collection, part, joining, look=fetch.look, has_older_runs=not part.is_end, refresh_problem=""
        )


def reread(collection: Collection, *, seconds: float) -> bool:
    """List the next of the known runs again, and write the runs that were added among them.

    Return whether this was the last part; the next one begins at the top. Raises NotConnected and
    SourceUnavailable.
    """
    block = _Block.of(collection)
    known = collection.runs.count() + len(MissingRuns.of(collection).unreadable)
    if block is None or known <= LIMIT - OVERLAP:
        return True  # the newest page contains all of them
    begin = collection.reread_from or LIMIT - OVERLAP
    fetch = _Pages(collection, seconds)
    part = RunListPart(fetch, begin)
    part.read_page()
    while not (part.is_end or part.is_stuck or (part.next_begin > begin and not part.doubtful)):
        part.read_page()
    is_last = part.is_end or part.is_past(block.oldest)
    found = [run for run in part.runs.values() if block.oldest <= run.created_at <= block.newest]
    rows.write(collection, part, found, look=fetch.look, reread_from=0 if is_last else part.next_begin)
    return is_last


def note_problem(collection: Collection, problem: str, *, retry_after: int = 0) -> None:
    """Record why the rows are out of date, in a sentence for members, and how many seconds to wait."""
    retry_at = timezone.now() + timedelta(seconds=retry_after) if retry_after else None
    rows.record(collection, refresh_problem=problem[:_MAX_PROBLEM_LENGTH], retry_at=retry_at)


def _note_error(collection: Collection, error: Exception) -> None:
    retry_after = error.retry_after if isinstance(error, SourceBusy) else 0
    note_problem(collection, str(error), retry_after=retry_after)


class _Pages:
    """Fetches pages of a collection's list until the time is over."""

    def __init__(self, collection: Collection, seconds: float) -> None:
        self.look = rows.Look(timezone.now(), collection.refreshed_at)
        self._collection = collection
        self._until = time.monotonic() + seconds

    def __call__(self, skip: int) -> Listing:
        """Return a page of the list. Raises NotConnected, SourceUnavailable, SourceTimeout."""
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise SourceTimeout(_SLOW)
        return list_runs(self._collection, skip=skip, limit=LIMIT, seconds=seconds)


@dataclass(frozen=True)
class _Block:
    """The period for which all runs are known."""

    newest: datetime
    oldest: datetime  # the beginning of time if there are no older runs

    @classmethod
    def of(cls, collection: Collection) -> "_Block | None":
        """Return the block of a collection, or None if no run is known."""
        times = collection.runs.newest_first().values_list("created_at", flat=True)
        newest, oldest = times.first(), times.last()
        if newest is None or oldest is None:
            return None
        return cls(newest, oldest if collection.has_older_runs else datetime.min.replace(tzinfo=UTC))


def _belonging(part: RunListPart, block: _Block | None) -> list[RemoteRun]:
    """Return the runs that may be written: their time is read completely, or lies within the block."""
    return [
        run
        for run in part.runs.values()
        if part.is_stuck or part.has_all_of(run.created_at) or (block and run.created_at >= block.oldest)
    ]


def _unreadable_below(collection: Collection, part: RunListPart) -> dict[int, datetime]:
    """Return an unreadable run below the part, a different one each time. It may be readable now."""
    noted = MissingRuns.of(collection).unreadable
    deeper = (
        (run.number, run.near)
        for run in noted
        if run.number is not None and run.near is not None and run.number not in part.numbers
    )
    return dict(islice(deeper, 1))


def _newest(collection: Collection, fetch: _Pages) -> tuple[RunListPart, _Block | None]:
    """List from the newest run down to the known block, or one page if nothing is known."""
    block = _Block.of(collection)
    known_to_be_doubtful = MissingRuns.of(collection).doubtful
    part = RunListPart(fetch)
    while not part.is_end:
        part.read_page()
        if block is None:
            if part.is_stuck or (len(_belonging(part, None)) >= PAGE and not part.doubtful):
                break
        elif part.is_past(block.newest) or part.lowest == block.newest:
            # More runs with the newest time may have arrived, and may be listed after the known ones.
            is_joined = part.is_past(block.newest) or block.newest in known_to_be_doubtful
            if part.is_stuck or (is_joined and not part.doubtful):
                break
    return part, block


def _has_older(part: RunListPart, block: _Block | None) -> bool | None:
    """Return whether the account has older runs, or None if this part doesn't tell."""
    if part.is_end or block is None:
        return not part.is_end
    return True if part.is_past(block.oldest) else None


def _older(collection: Collection, fetch: _Pages, block: _Block) -> RunListPart:
    """List from the oldest known run downwards, for one page or to the end of the list."""
    skip = max(0, collection.runs.count() - OVERLAP)
    part = RunListPart(fetch, skip)
    part.read_page()
    while skip and (part.begins is None or part.begins < block.oldest):
        # Runs have left the list, so this is too far down. There may be others in between.
        skip = max(0, skip - PAGE)
        part = RunListPart(fetch, skip)
        part.read_page()
    while not (part.is_end or part.is_stuck or _reaches_far(part, block)):
        part.read_page()
    return part


def _reaches_far(part: RunListPart, block: _Block) -> bool:
    older = [run for run in part.runs.values() if run.created_at < block.oldest]
    return not part.doubtful and sum(part.has_all_of(run.created_at) for run in older) >= PAGE


def _search(collection: Collection, fetch: _Pages, block: _Block | None, sought: dict[int, datetime]) -> None:
    """Look for runs deeper in the list, newest first, and write their state."""
    for _ in range(_SEARCHES):
        if not sought or block is None:
            return
        moment = max(sought.values())
        these = {number for number, its_moment in sought.items() if its_moment == moment}
        newer = collection.runs.filter(created_at__gt=moment).count()
        part = RunListPart(fetch, max(0, newer - OVERLAP))
        part.read_page()
        while not (part.is_end or part.is_stuck or part.is_past(moment) or these <= part.numbers):
            part.read_page()
        found = [run for run in part.runs.values() if run.created_at >= block.oldest]
        not_listed = these - part.numbers if part.has_all_of(moment) else set()
        rows.write(collection, part, found, look=fetch.look, not_listed=not_listed)
        for number in these | part.numbers:
            sought.pop(number, None)


def _find_moved(collection: Collection, fetch: _Pages, block: _Block | None, moved: set[int]) -> None:
    """Look for unreadable runs that have moved: they may have a valid time now."""
    moved -= (
        set(collection.runs.filter(number__in=moved).values_list("number", flat=True)) if moved else set()
    )
    if not moved or block is None:
        return
    part = RunListPart(fetch)
    for _ in range(MAX_PAGES_PER_TIME):
        part.read_page()
        if part.is_end or part.is_past(block.oldest) or moved <= part.numbers:
            break
    found = [run for run in part.runs.values() if run.number in moved and run.created_at >= block.oldest]
    rows.write(collection, part, found, look=fetch.look)
