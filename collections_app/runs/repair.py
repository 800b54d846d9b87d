"""Clean up after writers that were killed."""

from dataclasses import dataclass, field

from django.db import transaction
from django.utils import timezone

from collections_app.files.storage.base import results
from collections_app.models import Collection, ResultFile, Run, State
from collections_app.models.runs import RunQuerySet
from collections_app.runs import folder
from collections_app.runs.lease import abandoned, being_written, lapsed

INTERRUPTED = (
    "The run was interrupted before all of its files were written. Its files have been removed. "
    "Start a new run."
)


@dataclass
class RepairReport:
    """The repaired runs, and the runs that still have a writer."""

    failed_runs: list[Run] = field(default_factory=list)
    living_runs: list[Run] = field(default_factory=list)
    removed_files: list[str] = field(default_factory=list)
    removed_folders: list[str] = field(default_factory=list)

    @property
    def was_needed(self) -> bool:
        """Whether the repair changed anything."""
        return bool(self.failed_runs or self.removed_files or self.removed_folders)


def repair_runs() -> RepairReport:
    """Fail the runs whose writers were killed, and remove files that belong to no run.

    This is safe at any time, even while others write or repair, and may itself be killed. Processing runs
    without a lease are paused, so they stay.
    """
    living = Run.objects.filter(being_written()).order_by("pk")
    report = RepairReport(fail_interrupted_runs(), list(living.select_related("collection")))
    found = _collections_stored()
    # Without any runs, this may be a new database, and the files may belong to the old one.
    if Run.objects.exists():
        for collection_id in found:
            _sweep(collection_id, report)
    return report


def fail_interrupted_runs() -> list[Run]:
    """Fail the runs whose writers were killed, remove their files, and return the runs.

    Delete those with `discard_if_killed` instead, and don't return them.
    """
    interrupted = list(Run.objects.filter(abandoned()).order_by("pk"))
    return [run for run in interrupted if (_discard if run.discard_if_killed else _fail)(run)]


def _still_abandoned(run: Run) -> RunQuerySet:
    """Return the run's row if its writer hasn't renewed the lease, and no other repair was faster."""
    return Run.objects.filter(abandoned(), pk=run.pk, attempt=run.attempt)


def _discard(run: Run) -> bool:
    """Delete the run and its files. Return False, as it didn't fail."""
    with transaction.atomic(durable=True):
        current = _still_abandoned(run).select_for_update().first()
        if current is not None:
            current.delete()
    if current is not None:
        folder.remove(run)
    return False


def _fail(run: Run) -> bool:
    with transaction.atomic(durable=True):
        failed = _still_abandoned(run).update(
            state=State.FAILED, failure_reason=INTERRUPTED, lease_expires_at=None, updated_at=timezone.now()
        )
        if not failed:
            return False
        run.files.all().delete()
    folder.remove(run)
    return True


def _sweep(collection_id: int, report: RepairReport) -> None:
    """Remove the files in a collection's folder that belong to no run."""
    # The files are listed before the rows are read. A run is in the database before its first file is stored,
    # and a file gets its row only while its attempt is the run's. So a file that is listed here, and isn't in
    # the rows that are read later, will never get a row. The same applies to mirrors once the attempts of
    # killed ones are cleared. A lease that has expired since then is ignored: its holder may be committing
    # now.
    found = {
        int(number): [f"{collection_id}/{number}/{name}" for name in names]
        for number, names in results().contents(str(collection_id)).items()
        if _is_number(number)
    }
    copied = Run.objects.filter(lapsed(), collection=collection_id, state=State.READY)
    copied.update(attempt="", lease_expires_at=None)
    runs = {run.number: run for run in Run.objects.filter(collection=collection_id)}
    named = set(ResultFile.objects.filter(run__collection=collection_id).values_list("key", flat=True))
    for number, keys in found.items():
        run = runs.get(number)
        current = f"{collection_id}/{number}/{run.attempt}-" if run and run.lease_expires_at else None
        strays = [key for key in keys if key not in named and not (current and key.startswith(current))]
        for key in strays:
            results().delete(key)
        report.removed_files += strays
        if len(strays) == len(keys) and not (run and _gets_files(run)):
            _remove_folder(f"{collection_id}/{number}", report)
    # Ids and numbers are never used again, so nothing is written there again.
    if not runs and not Collection.objects.filter(pk=collection_id).exists():
        _remove_folder(str(collection_id), report)


def _gets_files(run: Run) -> bool:
    """Whether files of the run may still be written or copied."""
    return run.state == State.PROCESSING or (run.is_ready and not run.is_kept)


def _remove_folder(name: str, report: RepairReport) -> None:
    if results().remove_folder(name):
        report.removed_folders.append(name)


def _collections_stored() -> list[int]:
    """Return the folders whose names are numbers. Others, such as lost+found, aren't ours."""
    try:
        folders, _ = results().listdir("")
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in folders if _is_number(name))


def _is_number(name: str) -> bool:
    return name.isdecimal() and name.isascii()
