"""Delete a run with its files and exports."""

from django.db import transaction
from django.db.models import Q

from collections_app.files.storage.base import results
from collections_app.models import Export, Run
from collections_app.runs import folder
from collections_app.runs.lease import RunIsBeingWritten, is_held


def delete_run(run: Run) -> None:
    """Delete a run and its files if it still exists. Raises RunIsBeingWritten.

    Can't be used inside a transaction, because the files are deleted after the rows. If the process is killed
    in between, `repair` deletes the files, and the worker deletes the exports.
    """
    exports: list[str] = []
    with transaction.atomic(durable=True):
        # The lock keeps a writer from resuming the run after the check.
        current = Run.objects.select_for_update().filter(pk=run.pk).first()
        if current is not None:
            if is_held(current):
                what = "copied" if current.is_ready else "written"
                raise RunIsBeingWritten(
                    f"Run {current.number} is being {what}. Wait until that is finished, then delete it."
                )
            exports = _delete_exports(current)
            current.delete()
    for key in exports:
        results().delete(key)
    folder.remove(run)


def _delete_exports(run: Run) -> list[str]:
    """Delete the rows of all exports that contain the run. Return the keys of their files."""
    ids = set(Export.objects.filter(Q(run=run) | Q(other_runs=run)).values_list("pk", flat=True))
    exports = Export.objects.filter(pk__in=ids)
    keys = list(exports.exclude(key="").values_list("key", flat=True))
    exports.delete()
    return keys
