"""Where a run's files lie in the results storage: `{collection id}/{run number}/{attempt}-{what}`.

The attempt is the writer's token, so that two writers of one run never touch each other's files.
"""

from collections_app.files.storage.base import results
from collections_app.models import ResultFile, Run


def folder_of(run: Run) -> str:
    """Return the folder of a run."""
    return f"{run.collection_id}/{run.number}"


def keys_in(folder: str) -> list[str]:
    """Return the keys of the files that lie in a folder; none where there is no folder."""
    try:
        _, names = results().listdir(folder)
    except FileNotFoundError:
        return []
    return [f"{folder}/{name}" for name in names]


def remove(run: Run) -> None:
    """Remove the folder of a run that has no rows of files (any more), with all it holds."""
    folder = folder_of(run)
    for key in keys_in(folder):
        results().delete(key)
    results().remove_folder(folder)


def remove_strays(run: Run, attempt: str = "") -> None:
    """Remove the files of an attempt (by default: of all) that no row of the run names.

    For attempts that are over: a living one has files whose rows are yet to come.
    """
    # In this order: whatever is found gets no row any more.
    found = [key for key in keys_in(folder_of(run)) if key.startswith(f"{folder_of(run)}/{attempt}")]
    named = set(ResultFile.objects.filter(run=run.pk).values_list("key", flat=True))
    for key in found:
        if key not in named:
            results().delete(key)
