"""Find the run that an address names."""

from django.http import Http404

from collections_app.models import Collection, NotDownloadable, Run
from collections_app.models.runs import prefetch_first_files

# A run with more pages than PAGES_UNFOLDED shows the first PAGES_WHERE_FOLDED and links to the others.
# Hiding just a few pages isn't worth it.
PAGES_UNFOLDED = 24
PAGES_WHERE_FOLDED = 12


def find_run(collection: Collection, number: int, *, first_files_only: bool = False) -> Run:
    """Return a run in any state, with its files. Raises Http404."""
    runs = collection.runs.filter(number=number)
    run = (runs if first_files_only else runs.with_files()).first()
    if run is not None and first_files_only:
        prefetch_first_files([run], PAGES_UNFOLDED)
    # A completed run without files was deleted while we read them.
    if run is None or (run.is_ready and not run.ready_files):
        raise Http404(f"This collection has no run {number}.")
    return run


def find_ready_run(collection: Collection, number: int) -> Run:
    """Return a completed run. Raises Http404."""
    try:
        return collection.runs.ready_run(number)
    except NotDownloadable as error:
        raise Http404(str(error)) from None


def neighbors(run: Run) -> dict[str, int | None]:
    """Return the numbers of the runs before and after this one, or None, as `previous_run` and `next_run`."""
    runs = run.collection.runs
    return {
        "previous_run": runs.before(run.cursor).newest_first().values_list("number", flat=True).first(),
        "next_run": runs.after(run.cursor).newest_first().values_list("number", flat=True).last(),
    }
