"""Write the rows of an account's runs and their files.

If the runs have very many files, some are written as Processing first. Each becomes ready in the transaction
that writes its files.
"""

from collections.abc import Collection as Several
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from collections_app.files.names import CATEGORY_CSV, UniqueNames, kept_name
from collections_app.models import Collection, FileKind, ResultFile, Run, State
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


def unfinished(collection: Collection) -> dict[int, datetime]:
    """Return the times of the runs that may still get their files, by their numbers."""
    without_files = Q(state=State.FAILED, failure_reason__in=[_NO_FILES, _NO_FILES_IN_0_1])
    runs = collection.runs.filter(Q(state=State.PROCESSING) | without_files)
    return dict(runs.values_list("number", "created_at"))


def record(collection: Collection, **notes: Any) -> None:
    """Store what is known about the list on the collection, along with the time."""
    notes = {"refresh_tried_at": timezone.now(), "retry_at": None} | notes
    Collection.objects.filter(pk=collection.pk).update(**notes)
    for name, value in notes.items():
        setattr(collection, name, value)


def write(
    collection: Collection,
    part: RunListPart,
    listed: Iterable[RemoteRun],
    *,
    not_listed: Several[int] = (),
    **notes: Any,
) -> None:
    """Write the rows of the runs listed in a part, and fail runs that are no longer listed.

    A ready run never changes again: neither its row nor those of its files. All runs are written at once, but
    if they have very many files, some turn ready in later transactions.
    """
    first, *others = _batches(_unready(collection, listed)) or [[]]
    later = [replace(run, is_ready=False) for batch in others for run in batch]
    _write_batch(collection, [*first, *later], part=part, not_listed=not_listed, notes=notes)
    for batch in others:
        _write_batch(collection, batch)


def _unready(collection: Collection, listed: Iterable[RemoteRun]) -> list[RemoteRun]:
    """Return the runs that aren't ready in our rows, each once."""
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
    *,
    part: RunListPart | None = None,
    not_listed: Several[int] = (),
    notes: Mapping[str, Any] | None = None,
) -> None:
    # Built before the transaction, because it takes long.
    files_of = {remote.number: _files(remote) for remote in listed}
    with transaction.atomic():
        # One writer at a time: another process may have listed the same new runs.
        current = Collection.objects.select_for_update().get(pk=collection.pk)
        _write_runs(collection, listed, files_of)
        if not_listed:
            collection.runs.filter(number__in=not_listed, state=State.PROCESSING).update(
                state=State.FAILED, failure_reason=_NOT_LISTED
            )
        if part is not None:
            record(collection, unlisted=MissingRuns.of(current).after(part).as_json(), **(notes or {}))


def _write_runs(
    collection: Collection, listed: Iterable[RemoteRun], files_of: Mapping[int, list[ResultFile]]
) -> None:
    by_number = {run.number: run for run in listed}
    known = {run.number: run for run in collection.runs.filter(number__in=by_number)}
    new: list[Run] = []
    changed: list[Run] = []
    files: list[ResultFile] = []
    for number, remote in by_number.items():
        run = known.get(number) or Run(collection=collection, number=number)
        if run.is_ready:
            continue
        files += _update(run, remote, files_of[number])
        (changed if number in known else new).append(run)
    Run.objects.bulk_create(new)
    Run.objects.bulk_update(changed, _UPDATED_FIELDS)
    ResultFile.objects.bulk_create(files)


_UPDATED_FIELDS = ["state", "failure_reason", "created_at", "updated_at", "extracted", "total", "file_count"]


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


def _files(remote: RemoteRun) -> list[ResultFile]:
    """Return the rows of a ready run's files, without the run."""
    if not remote.is_ready:
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
