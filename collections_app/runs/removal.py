"""Delete a run with its files, exports, slice and comparisons, or only the copies of an account's files.

Neither can be used inside a transaction, because the files are deleted after the rows. If the process is
killed in between, `repair` deletes the files, and the worker deletes the others.
"""

from collections.abc import Callable

from django.db import transaction
from django.db.models import Q

from collections_app.files.storage.base import results
from collections_app.models import Comparison, Export, Run, Slice, Verdict
from collections_app.runs import folder
from collections_app.runs.lease import RunIsBeingWritten, is_held

# Evaluated while the run is locked.
Condition = Callable[[], Q]


class ConditionChanged(Exception):
    """The run no longer meets the condition."""


def delete_run(run: Run, *, condition: Condition | None = None) -> None:
    """Delete a run and its files if it still exists.

    Raises RunIsBeingWritten, and ConditionChanged if it exists but doesn't meet the condition.
    """
    keys: list[str] = []
    with transaction.atomic(durable=True):
        current = _locked(run, condition)
        if current is not None:
            keys = _delete_exports(current)
            keys += Slice.objects.filter(run=current).exclude(key="").values_list("key", flat=True)
            compared = Comparison.objects.filter(Q(run=current) | Q(since=current))
            keys += compared.exclude(key="").values_list("key", flat=True)
            _mark_later_verdicts(current)
            current.delete()
    for key in keys:
        results().delete(key)
    folder.remove(run)


def _mark_later_verdicts(run: Run) -> None:
    verdict = Verdict.objects.filter(run=run).first()
    if verdict is not None:
        Verdict.objects.mark_later(run, verdict.kind)


def _delete_exports(run: Run) -> list[str]:
    """Delete the rows of all exports that contain the run. Return the keys of their files."""
    ids = set(Export.objects.filter(Q(run=run) | Q(other_runs=run)).values_list("pk", flat=True))
    exports = Export.objects.filter(pk__in=ids)
    keys = list(exports.exclude(key="").values_list("key", flat=True))
    exports.delete()
    return keys


def delete_copies(run: Run, *, condition: Condition | None = None) -> None:
    """Delete the copies of the files of an account's run. The run stays, and its files at the account.

    Raises RunIsBeingWritten, and ConditionChanged if the run exists but doesn't meet the condition.
    """
    keys: list[str] = []
    with transaction.atomic(durable=True):
        current = _locked(run, condition)
        if current is not None:
            copies = current.files.exclude(key="")
            keys = list(copies.values_list("key", flat=True))
            copies.update(**_NOT_COPIED, modified=current.updated_at.replace(microsecond=0))
            Run.objects.filter(pk=run.pk).update(is_kept=False, delete_at=None)
    for key in keys:
        results().delete(key)
    results().remove_folder(folder.folder_of(run))


# The fields of a file at the account, as they are before it is copied.
_NOT_COPIED = {
    "key": "",
    "size": None,
    "sha256": "",
    "crc32": None,
    "records": None,
    "list_start": None,
    "list_end": None,
    "archive_offset": None,
    "archive_size": None,
    "is_damaged": False,
}


def _locked(run: Run, condition: Condition | None) -> Run | None:
    """Lock a run's row, so that no writer can resume the run, and return it if it exists."""
    found = Run.objects.select_for_update().filter(pk=run.pk)
    current = found.first()
    if current is None:
        return None
    if is_held(current):
        what = "copied" if current.is_ready else "written"
        raise RunIsBeingWritten(
            f"Run {current.number} is being {what}. Wait until that has finished, then delete the run."
        )
    if condition is not None and not found.filter(condition()).exists():
        raise ConditionChanged
    return current
