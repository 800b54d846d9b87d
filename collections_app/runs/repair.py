"""Cleans up after writers that were killed."""

from dataclasses import dataclass, field

from django.db import transaction
from django.utils import timezone

from collections_app.files.storage.base import results
from collections_app.models import Collection, ResultFile, Run, State
from collections_app.runs import folder
from collections_app.runs.lease import abandoned, being_written, lapsed

INTERRUPTED = (
    "The run was interrupted before all of its files were written, and what there was has been removed. "
    "Start it again; that makes a new run."
)


@dataclass
class RepairReport:
    """What was done, and which runs were left to writers that are taken to be alive."""

    failed_runs: list[Run] = field(default_factory=list)
    living_runs: list[Run] = field(default_factory=list)
    removed_files: list[str] = field(default_factory=list)
    removed_folders: list[str] = field(default_factory=list)

    @property
    def was_needed(self) -> bool:
        """Whether anything was done."""
        return bool(self.failed_runs or self.removed_files or self.removed_folders)


def repair_runs() -> RepairReport:
    """Fail the runs whose writer is dead, and remove the files that belong to no run.

    Safe at any time, beside writers and other repairs, and safe to be killed itself. A Processing
    run without a lease is nobody's and stays as it is.
    """
    living = Run.objects.filter(being_written()).order_by("pk")
    report = RepairReport(fail_interrupted_runs(), list(living.select_related("collection")))
    found = _collections_stored()
    # A database without any run may be a new one in the place of that whose files these are.
    if Run.objects.exists():
        for collection_id in found:
            _sweep(collection_id, report)
    return report


def fail_interrupted_runs() -> list[Run]:
    """Turn the runs whose writer is dead to Failed and remove their files. Returns them."""
    return [run for run in Run.objects.filter(abandoned()).order_by("pk") if _fail(run)]


def _fail(run: Run) -> bool:
    with transaction.atomic(durable=True):
        # Asked again: the writer may have renewed its lease, or another repair may have been first.
        still_dead = Run.objects.filter(abandoned(), pk=run.pk, attempt=run.attempt)
        failed = still_dead.update(
            state=State.FAILED, failure_reason=INTERRUPTED, lease_expires_at=None, updated_at=timezone.now()
        )
        if not failed:
            return False
        run.files.all().delete()
    folder.remove(run)
    return True


def _sweep(collection_id: int, report: RepairReport) -> None:
    """Remove what lies in a collection's folder and belongs to no run."""
    # First the files, then the rows. A writer's run is in the database before its first file is on
    # the disk, and a file gets its row while the writer's attempt is the run's; so a file that is
    # found here and that the rows read after it don't account for never gets one. The same goes for
    # who copies a ready run from an account, once a dead one's attempt is taken from the run. A lease
    # that has run out only since is not ours to judge: its holder may be committing just now.
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
        living = f"{collection_id}/{number}/{run.attempt}-" if run and run.lease_expires_at else None
        strays = [key for key in keys if key not in named and not (living and key.startswith(living))]
        for key in strays:
            results().delete(key)
        report.removed_files += strays
        if len(strays) == len(keys) and not (run and _gets_files(run)):
            _remove_folder(f"{collection_id}/{number}", report)
    # Numbers are never used twice, so nobody writes there again.
    if not runs and not Collection.objects.filter(pk=collection_id).exists():
        _remove_folder(str(collection_id), report)


def _gets_files(run: Run) -> bool:
    """Whether somebody may write files of the run: its scrape goes on, or they are still to be copied."""
    return run.state == State.PROCESSING or (run.is_ready and not run.is_kept)


def _remove_folder(name: str, report: RepairReport) -> None:
    if results().remove_folder(name):
        report.removed_folders.append(name)


def _collections_stored() -> list[int]:
    """Return the folders that have a number for a name; others, such as lost+found, are not ours."""
    try:
        folders, _ = results().listdir("")
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in folders if _is_number(name))


def _is_number(name: str) -> bool:
    return name.isdecimal() and name.isascii()
