"""The folder of a run's files in the results storage: `{collection id}/{run number}/{attempt}-{name}`.

The attempt is the writer's token, so that two writers of a run never touch each other's files.
"""

from collections_app.files.storage.base import results
from collections_app.models import ResultFile, Run


def folder_of(run: Run) -> str:
    """Return the folder of a run."""
    return f"{run.collection_id}/{run.number}"


def keys_in(folder: str) -> list[str]:
    """Return the keys of the files in a folder, or none if the folder doesn't exist."""
    try:
        _, names = results().listdir(folder)
    except FileNotFoundError:
        return []
    return [f"{folder}/{name}" for name in names]


def remove(run: Run) -> None:
    """Remove the folder and the files of a run that has no file rows."""
    folder = folder_of(run)
    for key in keys_in(folder):
        results().delete(key)
    results().remove_folder(folder)


def remove_strays(run: Run, attempt: str = "") -> None:
    """Remove the files of an attempt, or of all attempts, that have no row.

    The attempts must be over, because a current one has files whose rows aren't saved yet.
    """
    # In this order, because no file that is found can get a row later.
    found = [key for key in keys_in(folder_of(run)) if key.startswith(f"{folder_of(run)}/{attempt}")]
    named = set(ResultFile.objects.filter(run=run.pk).values_list("key", flat=True))
    for key in found:
        if key not in named:
            results().delete(key)
