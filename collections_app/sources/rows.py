"""Write the rows of an account's runs and their files.

If the runs have very many files, some are written as Processing first. Each becomes ready in the transaction
that writes its files.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Collection as Several
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, Subquery
from django.utils import timezone

from collections_app.files.names import CATEGORY_CSV, UniqueNames, kept_name
from collections_app.models import Collection, FileKind, ResultFile, Run, State
from collections_app.models.expectations import expect_next_run
from collections_app.models.run_status import progress
from collections_app.sources.missing_runs import MissingRuns
from collections_app.sources.run_list import RunListPart
from collections_app.sources.upstream.runs import RemoteFile, RemoteRun

_NOT_LISTED = "MultiCartAPI no longer lists this run."
_NO_FILES = (
    "MultiCartAPI reports this run as complete, but lists no files that can be downloaded. "
    "An admin can check the account's base address and this collection's type."
)
# The wording in rows that were written before release 0.2.0.
_NO_FILES_IN_0_1 = (
    "MultiCartAPI says that this run is complete, but names no files of it that can be fetched. "
    "An admin can check the account's base address and this collection's type."
)

# How many files to write in one transaction, unless a single run has more. SQLite has no other writers
# during a transaction.
_MAX_FILES_AT_ONCE = 5_000


@dataclass(frozen=True)
class Look:
    """The times of a reading of the list and of the previous reading."""

    at: datetime
    seen_at: datetime | None

    def unchanged_since(self, progressed_at: datetime) -> timedelta | None:
        """Return how long a run was seen without progress, which is the least duration of its step."""
        if self.seen_at is None or self.seen_at <= progressed_at:
            return None
        return self.seen_at - progressed_at


def unfinished(collection: Collection) -> dict[int, datetime]:
    """Return the times of the runs that may still get their files, by their numbers."""
    without_files = Q(state=State.FAILED, failure_reason__in=[_NO_FILES, _NO_FILES_IN_0_1])
    runs = collection.runs.filter(Q(state=State.PROCESSING) | without_files)
    return dict(runs.values_list("number", "created_at"))


def record(collection: Collection, **notes: Any) -> None:
    """Store what is known about the list on the collection, along with the time."""
    now = timezone.now()
    notes = {"refresh_tried_at": now, "retry_at": None} | notes
    if "refresh_problem" in notes:
        notes["failing_since"] = (collection.failing_since or now) if notes["refresh_problem"] else None
    Collection.objects.filter(pk=collection.pk).update(**notes)
    for name, value in notes.items():
        setattr(collection, name, value)


def write(
    collection: Collection,
    part: RunListPart,
    listed: Iterable[RemoteRun],
    *,
    look: Look,
    not_listed: Several[int] = (),
    **notes: Any,
) -> None:
    """Write the rows of the runs listed in a part, and fail runs that are no longer listed.

    A ready run never changes again: neither its row nor those of its files. All runs are written at once, but
    if they have very many files, some turn ready in later transactions.
    """
    first, *others = _batches(_unready(collection, listed)) or [[]]
    later = [replace(run, is_ready=False) for batch in others for run in batch]

    def record_all(current: Collection) -> None:
        if not_listed:
            collection.runs.filter(number__in=not_listed, state=State.PROCESSING).update(
                state=State.FAILED, failure_reason=_NOT_LISTED
            )
        record(collection, unlisted=MissingRuns.of(current).after(part).as_json(), **notes)

    _write_batch(collection, [*first, *later], look, also=record_all)
    for batch in others:
        _write_batch(collection, batch, look)


def _unready(collection: Collection, listed: Iterable[RemoteRun]) -> list[RemoteRun]:
    """Return the runs whose rows aren't ready, without duplicates."""
    by_number = {run.number: run for run in listed}
    ready = collection.runs.filter(number__in=by_number, state=State.READY)
    known = set(ready.values_list("number", flat=True))
    return [run for number, run in by_number.items() if number not in known]


def _batches(runs: Iterable[RemoteRun]) -> list[list[RemoteRun]]:
    """Divide runs into batches to write in one transaction each."""
    batches: list[list[RemoteRun]] = []
    room = 0
    for run in runs:
        if len(run.files) > room or not batches:
            batches.append([])
            room = _MAX_FILES_AT_ONCE
        batches[-1].append(run)
        room -= len(run.files)
    return batches


def _write_batch(
    collection: Collection,
    listed: Several[RemoteRun],
    look: Look,
    *,
    also: Callable[[Collection], None] = lambda collection: None,
) -> None:
    """Write runs in one transaction that locks the collection. `also` is called within it."""
    # Built before the transaction, because this takes long.
    files_of = {remote.number: _files(remote, collection) for remote in listed}
    with transaction.atomic():
        # One writer at a time: another process may have listed the same new runs.
        current = Collection.objects.select_for_update().get(pk=collection.pk)
        if _write_runs(collection, listed, files_of, look):
            expect_next_run(collection)
        also(current)


def _write_runs(
    collection: Collection,
    listed: Iterable[RemoteRun],
    files_of: Mapping[int, list[ResultFile]],
    look: Look,
) -> bool:
    """Write the runs that aren't ready yet, and return whether there are any."""
    by_number = {run.number: run for run in listed}
    has_unfinished = any(not run.is_ready for run in by_number.values())
    usual_step = collection.runs.longest_recent_step() if has_unfinished else None
    known = {run.number: run for run in collection.runs.filter(number__in=by_number)}
    new: list[Run] = []
    changed: list[Run] = []
    files: list[ResultFile] = []
    for number, remote in by_number.items():
        run = known.get(number) or Run(collection=collection, number=number)
        if run.is_ready:
            continue
        _record_progress(run, remote, usual_step, look)
        files += _update(run, remote, files_of[number])
        (changed if number in known else new).append(run)
    Run.objects.bulk_create(new)
    Run.objects.bulk_update(changed, _UPDATED_FIELDS)
    ResultFile.objects.bulk_create(files)
    _stall_overtaken(collection, look)
    return bool(new or changed)


_UPDATED_FIELDS = ["state", "failure_reason", "created_at", "updated_at", "extracted", "total", "file_count"]
_UPDATED_FIELDS += ["progressed_at", "longest_step", "stalls_at"]


def _record_progress(run: Run, remote: RemoteRun, usual_step: timedelta | None, look: Look) -> None:
    """Record progress since the list was last read. Saves nothing."""
    before = (run.extracted, run.total, run.updated_at)
    if run.progressed_at is None:
        if remote.is_ready:
            return
        at, step = min(remote.updated_at, look.at), None
    elif before == (remote.extracted, remote.total, remote.updated_at) and not remote.is_ready:
        return
    else:
        # An account may not update its own time.
        is_known = run.progressed_at < remote.updated_at <= look.at
        at = remote.updated_at if is_known else look.at
        step = look.unchanged_since(run.progressed_at)
    fields = progress(at, usual_step=usual_step, longest_step=run.longest_step, step=step)
    for name, value in fields.items():
        setattr(run, name, value)


def _stall_overtaken(collection: Collection, look: Look) -> None:
    """Stall runs that a newer completed run has overtaken, unless they have made progress since."""
    completed = collection.runs.filter(state=State.READY).newest_first().values("created_at")[:1]
    collection.runs.filter(
        state=State.PROCESSING,
        created_at__lt=Subquery(completed),
        progressed_at__lte=look.seen_at or look.at,
        stalls_at__gt=look.at,
    ).update(stalls_at=look.at)


def _update(run: Run, remote: RemoteRun, files: list[ResultFile]) -> list[ResultFile]:
    """Update a run from the list, and return its files. Saves nothing."""
    for file in files:
        file.run = run
    run.state = State.READY if files else State.FAILED if remote.is_ready else State.PROCESSING
    run.failure_reason = _NO_FILES if run.state == State.FAILED else ""
    run.created_at, run.updated_at = remote.created_at, remote.updated_at
    run.extracted, run.total = remote.extracted, remote.total
    run.file_count = len(files)
    return files


def _files(remote: RemoteRun, collection: Collection) -> list[ResultFile]:
    """Return the rows of a ready run's files without the run, or [] if they don't fit the collection."""
    if not remote.is_ready or (remote.has_only_a_category_list and not collection.is_category):
        return []
    listed = [file for file in remote.files if file.kind != FileKind.CATEGORY_CSV]
    if any(file.kind == FileKind.CATEGORY_LIST for file in listed):
        # We create it from the list, whether or not the account has one.
        listed.append(RemoteFile(FileKind.CATEGORY_CSV, 0, ""))
    names = UniqueNames()
    return [
        ResultFile(
            kind=file.kind,
            position=file.position,
            name=names.add(kept_name(file.remote_name or CATEGORY_CSV)),
            remote_name=file.remote_name,
            modified=remote.updated_at.replace(microsecond=0),
        )
        for file in listed
    ]
