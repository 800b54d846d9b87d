"""Deleting a run with its files, and with what was made of them."""

from django.db import transaction

from collections_app.files.storage.base import results
from collections_app.models import Run
from collections_app.runs import folder
from collections_app.runs.lease import RunIsBeingWritten, is_held


def delete_run(run: Run) -> None:
    """Delete a run and its files; one that is deleted already is fine. Raises RunIsBeingWritten.

    Can't be used inside a transaction: the files go when the rows are gone for good. Where it is
    killed in between, `repair` removes the files, and the background work the exports.
    """
    exports: list[str] = []
    with transaction.atomic(durable=True):
        # Locked, so that no writer takes the run up between the question and the answer.
        current = Run.objects.select_for_update().filter(pk=run.pk).first()
        if current is not None:
            if is_held(current):
                what = "copied" if current.is_ready else "written"
                raise RunIsBeingWritten(
                    f"Run {current.number} is being {what} just now. Wait until it is over, then delete it."
                )
            exports = list(current.exports.exclude(key="").values_list("key", flat=True))
            current.delete()
    for key in exports:
        results().delete(key)
    folder.remove(run)
