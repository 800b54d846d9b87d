"""Our rows of an account's runs: brought up to date from what the account lists.

A collection's rows are one gapless block of the account's list, from its newest run down. That is what lets
every page be made from the rows alone. So newer runs are written only once they join the block, all of them
in one transaction, and older ones only from its end on.
"""

import time
from collections.abc import Collection as Several
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from collections_app.formats.file_names import CATEGORY_CSV, fitted, kept_name
from collections_app.models import Collection, FileKind, NotConnected, ResultFile, Run, State
from collections_app.sources.base import SourceBusy, SourceTimeout, SourceUnavailable
from collections_app.sources.upstream import Listing, RemoteFile, RemoteRun, list_runs

# One more than are shown at once: it tells whether there are more.
PAGE = 51
# By how many runs a list may move up between two calls without one being missed.
_OVERLAP = 10
# How many parts of the list are asked for in search of runs that were Processing when last seen.
_SEARCHES = 3

_SLOW = "MultiCartAPI took too long to list its runs."
_NOT_LISTED = "MultiCartAPI doesn't list this run any more."
_NO_FILES = (
    "MultiCartAPI says that this run is complete, but names no files of it that can be fetched. "
    "An admin can check the account's base address and this collection's type."
)

_LONGEST_PROBLEM = 300

# Where a run stands in the list: newest first is from the greatest place down.
Place = tuple[datetime, int]


def bring_up_to_date(collection: Collection, *, seconds: float) -> None:
    """List the newest runs at the account, until they join those known, and write their rows.

    Notes on the collection how old the rows are and what went wrong; raises nothing of a source's.
    """
    asked_at = timezone.now()
    ask = _Asking(collection, seconds)
    unfinished = _unfinished(collection)
    try:
        listed, has_older = _newest(collection, ask)
        unfinished = {number: unfinished[number] for number in unfinished.keys() - ask.not_understood}
        last = min(map(_place, listed.values()), default=None)
        passed = {
            number
            for number, place in unfinished.items()
            if has_older is False or last is None or place > last
        }
        notes: dict[str, Any] = {} if has_older is None else {"has_older_runs": has_older}
        notes |= {"refreshed_at": asked_at, "refresh_problem": ""}
        _write(collection, listed.values(), not_listed=passed - listed.keys(), **notes)
        deeper = unfinished.keys() - passed - listed.keys()
        _search(collection, ask, {number: unfinished[number] for number in deeper})
    except (NotConnected, SourceUnavailable) as error:
        _note_error(collection, error)


def reach_back(collection: Collection, *, seconds: float) -> None:
    """The same for the next runs beyond the oldest that is known."""
    ask = _Asking(collection, seconds)
    try:
        found = 0
        for older in _older(collection, ask):
            found += len(older)
            _write(collection, older, has_older_runs=bool(older), refresh_problem="")
            if found >= PAGE:
                return
    except (NotConnected, SourceUnavailable) as error:
        _note_error(collection, error)


def note_problem(collection: Collection, problem: str, *, retry_after: int = 0) -> None:
    """Note why the rows are not newer, in a sentence for members, and for how many seconds not to ask."""
    tried_at = timezone.now() + timedelta(seconds=retry_after)
    _note(collection, refresh_problem=problem[:_LONGEST_PROBLEM], refresh_tried_at=tried_at)


def _note_error(collection: Collection, error: Exception) -> None:
    retry_after = error.retry_after if isinstance(error, SourceBusy) else 0
    note_problem(collection, str(error), retry_after=retry_after)


class _Asking:
    """Asks for parts of a collection's list until the time is over."""

    def __init__(self, collection: Collection, seconds: float) -> None:
        self._collection = collection
        self._until = time.monotonic() + seconds
        self.not_understood: set[int] = set()  # runs that are listed, but nobody knows how they stand

    def __call__(self, skip: int, limit: int = PAGE) -> Listing:
        """Return a part of the list. Raises NotConnected, SourceUnavailable, SourceTimeout."""
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise SourceTimeout(_SLOW)
        page = list_runs(self._collection, skip=skip, limit=limit, seconds=seconds)
        self.not_understood |= page.not_understood
        return page


def _place(run: RemoteRun | Run) -> Place:
    return run.created_at, run.number


def _unfinished(collection: Collection) -> dict[int, Place]:
    """Return the places of the runs that may still get their files, by their numbers."""
    without_files = Q(state=State.FAILED, failure_reason=_NO_FILES)
    runs = collection.runs.filter(Q(state=State.PROCESSING) | without_files)
    return {number: (created_at, number) for number, created_at in runs.values_list("number", "created_at")}


# --- what is asked for --------------------------------------------------------------------------


def _newest(collection: Collection, ask: _Asking) -> tuple[dict[int, RemoteRun], bool | None]:
    """List from the newest run down to the block that we know, or a page where we know nothing.

    Returns the runs by their numbers, and whether there are older ones; None says that nothing new is known
    of that.
    """
    newest = collection.runs.newest_first().first()
    oldest = collection.runs.newest_first().last()
    listed: dict[int, RemoteRun] = {}
    skip = 0
    while True:
        page = ask(skip)
        # A short page isn't the end: a server may give less than was asked for.
        if _brings_nothing_new(page, listed.keys()):
            return listed, False
        listed |= {run.number: run for run in page.runs}
        last = min(map(_place, listed.values()), default=None)
        if last is None:
            pass  # Nothing of it is understood so far.
        elif newest is None or oldest is None:
            if len(listed) >= PAGE:
                return listed, True
        elif last <= _place(newest):
            return listed, True if last < _place(oldest) and page.entries >= PAGE else None
        skip += _step(page)


def _older(collection: Collection, ask: _Asking) -> Iterator[list[RemoteRun]]:
    """List from the oldest run that we know on down, page by page; an empty page at the list's end."""
    newest = collection.runs.newest_first().first()
    oldest = collection.runs.newest_first().last()
    if newest is None or oldest is None:
        yield []
        return
    lowest = _place(oldest)
    skip = max(0, collection.runs.count() - _OVERLAP)
    seen: set[int] = set()
    while True:
        page = ask(skip, PAGE + _OVERLAP)
        if skip and (not page.entries or (page.runs and _place(page.runs[0]) < lowest)):
            # Runs have left the list, so that this is too far down: others may lie in between.
            skip = max(0, skip - PAGE)
            continue
        numbers = {run.number for run in page.runs}
        known = set(collection.runs.filter(number__in=numbers).values_list("number", flat=True))
        # What is newer than all we know came since, and doesn't join yet.
        older = [run for run in page.runs if run.number not in known and _place(run) < _place(newest)]
        if older:
            lowest = min(lowest, *map(_place, older))
            yield older
        elif _brings_nothing_new(page, seen):
            yield []
            return
        seen |= numbers
        skip += _step(page)


def _brings_nothing_new(page: Listing, seen: AbstractSet[int]) -> bool:
    # What is not understood is new: there may be runs behind it that are.
    return not page.not_understood and seen >= {run.number for run in page.runs}


def _step(page: Listing) -> int:
    return max(1, page.entries - _OVERLAP)


def _search(collection: Collection, ask: _Asking, sought: dict[int, Place]) -> None:
    """Look for unfinished runs in the depth of the list, the newest first, and write how they stand."""
    for _ in range(_SEARCHES):
        if not sought:
            return
        number, place = max(sought.items(), key=lambda item: item[1])
        skip = max(0, _newer_than(collection, place) - _OVERLAP)
        page = ask(skip)
        found = [run for run in page.runs if run.number in sought]
        missing = {number} - {run.number for run in found} - ask.not_understood
        _write(collection, found, not_listed=missing if _spans(page, skip, place) else set())
        for done in (number, *(run.number for run in found)):
            sought.pop(done, None)


def _newer_than(collection: Collection, place: Place) -> int:
    created_at, number = place
    newer = Q(created_at__gt=created_at) | Q(created_at=created_at, number__gt=number)
    return collection.runs.filter(newer).count()


def _spans(page: Listing, skip: int, place: Place) -> bool:
    """Return whether a run of that place would have to be on the page."""
    if not page.runs:
        return skip == 0 and not page.entries
    begins = skip == 0 or _place(page.runs[0]) > place
    ends = page.entries < PAGE or _place(page.runs[-1]) < place
    return begins and ends


# --- what is written ----------------------------------------------------------------------------


@transaction.atomic
def _write(
    collection: Collection,
    listed: Iterable[RemoteRun],
    *,
    not_listed: Several[int] = (),
    **notes: Any,
) -> None:
    """Write the rows of the runs as they are listed, and fail those that are not listed any more.

    A ready run never changes again: neither its row nor those of its files.
    """
    # One writer at a time: another process may have listed the same new runs.
    Collection.objects.select_for_update().get(pk=collection.pk)
    by_number = {run.number: run for run in listed}
    known = {run.number: run for run in collection.runs.filter(number__in=by_number)}
    new: list[Run] = []
    changed: list[Run] = []
    files: list[ResultFile] = []
    for number, remote in by_number.items():
        run = known.get(number) or Run(collection=collection, number=number)
        if run.is_ready:
            continue
        files += _take(run, remote)
        (changed if number in known else new).append(run)
    Run.objects.bulk_create(new)
    Run.objects.bulk_update(changed, _TAKEN)
    ResultFile.objects.bulk_create(files)
    if not_listed:
        collection.runs.filter(number__in=not_listed, state=State.PROCESSING).update(
            state=State.FAILED, failure_reason=_NOT_LISTED
        )
    _note(collection, **notes)


_TAKEN = ["state", "failure_reason", "created_at", "updated_at", "extracted", "total", "file_count"]


def _take(run: Run, remote: RemoteRun) -> list[ResultFile]:
    """Bring a run's row to what is listed, and return the rows of its files. Saves nothing."""
    files = _files(run, remote) if remote.is_ready else []
    run.state = State.READY if files else State.FAILED if remote.is_ready else State.PROCESSING
    run.failure_reason = _NO_FILES if run.state == State.FAILED else ""
    run.created_at, run.updated_at = remote.created_at, remote.updated_at
    run.extracted, run.total = remote.extracted, remote.total
    run.file_count = len(files)
    return files


def _files(run: Run, remote: RemoteRun) -> list[ResultFile]:
    listed = [file for file in remote.files if file.kind != FileKind.CATEGORY_CSV]
    if any(file.kind == FileKind.CATEGORY_LIST for file in listed):
        # We make it from the list, whether or not the account has one.
        listed.append(RemoteFile(FileKind.CATEGORY_CSV, 0, ""))
    names = _Names()
    return [
        ResultFile(
            run=run,
            kind=file.kind,
            position=file.position,
            name=names.free(kept_name(file.remote_name or CATEGORY_CSV)),
            remote_name=file.remote_name,
            modified=remote.updated_at.replace(microsecond=0),
        )
        for file in listed
    ]


class _Names:
    """The names of a run's files, of which no two are the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}  # the last one given, by the name with the first

    def free(self, name: str) -> str:
        """Return the name, or one like it where it is taken, and take it."""
        free = self._numbered(PurePosixPath(name)) if name in self._taken else name
        self._taken.add(free)
        return free

    def _numbered(self, path: PurePosixPath) -> str:
        first = fitted(path.stem, f" (2){path.suffix}")
        number = self._numbers.get(first, 2)
        while (name := fitted(path.stem, f" ({number}){path.suffix}")) in self._taken:
            number += 1
        self._numbers[first] = number
        return name


def _note(collection: Collection, **notes: Any) -> None:
    notes.setdefault("refresh_tried_at", timezone.now())
    Collection.objects.filter(pk=collection.pk).update(**notes)
    for name, value in notes.items():
        setattr(collection, name, value)
