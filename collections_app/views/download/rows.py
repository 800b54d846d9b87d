"""The rows of runs on the download page. A completed run never changes, so its row is made once and kept.

A row is made from what `_row` hands to its template and from nothing else, and kept under all of that which
can differ: so nobody is shown a row of another role, and none that is out of date. The memory of each process
keeps its own; a new version of the templates is a new process.
"""

from collections.abc import Sequence
from zlib import crc32

from django.core.cache import caches
from django.template.loader import render_to_string
from django.urls import reverse

from collections_app.models import Collection, Membership, Run, State
from collections_app.models.runs import prefetch_first_files, prefetch_last_pages
from collections_app.people.access import Action, may
from collections_app.views.run.progress import is_idle, progress_of

# Of a run with many pages the first ones are shown, and how many more there are. A few more than those
# are not worth folding.
PAGES_UNFOLDED = 24
PAGES_WHERE_FOLDED = 12

# Of a run that is being written, the last pages are shown.
PAGES_WRITTEN = 6

# Names may be long, and what is kept must stay within bounds: settings.CACHES says how many rows.
_LONGEST_KEPT = 16_000


def run_rows(
    collection: Collection, runs: Sequence[Run], *, may_delete: bool, asks_for_sizes: bool
) -> list[str]:
    """Return the rows' HTML, in the order of the runs. The files of rows that are kept aren't asked for.

    `may_delete` is whether the reader may delete these runs; `asks_for_sizes`, whether the size of a ZIP
    that isn't known is asked for once its row is seen.
    """
    kept_rows = caches["run_rows"]
    keys = {run.pk: _key(run, may_delete=may_delete) for run in runs if run.is_ready}
    kept = kept_rows.get_many(keys.values())
    missing = [run for run in runs if run.is_ready and keys[run.pk] not in kept]
    if missing:
        prefetch_first_files(missing, PAGES_UNFOLDED)
    unfinished = [run for run in runs if run.state == State.PROCESSING]
    if unfinished:
        prefetch_last_pages(unfinished, PAGES_WRITTEN)
    new: dict[str, str] = {}
    rows: list[str] = []
    for run in runs:
        key = keys.get(run.pk, "")
        row = kept.get(key) or _row(collection, run, may_delete=may_delete, asks_for_sizes=asks_for_sizes)
        if key and key not in kept and _stays(run) and len(row) <= _LONGEST_KEPT:
            new[key] = row
        rows.append(row)
    kept_rows.set_many(new)
    return rows


def may_delete_runs(membership: Membership, collection: Collection) -> bool:
    """Whether the reader may delete the collection's runs; an account's can't be deleted here."""
    return not collection.is_remote and may(membership, Action.MANAGE_COLLECTIONS)


def version(run: Run) -> str:
    """Return what is another whenever the row of a run that is being written says something else."""
    said = (run.state, run.updated_at.timestamp(), run.extracted, run.total, is_idle(run))
    return f"{crc32(repr(said).encode()):08x}"


def _key(run: Run, *, may_delete: bool) -> str:
    """Return all that tells rows of completed runs apart; their numbers, collections and files stay."""
    times = f"{run.created_at.timestamp()}_{run.updated_at.timestamp()}"
    return f"{run.pk}_{times}_{run.extracted}_{run.total}_{run.file_count}_{run.is_kept:d}{may_delete:d}"


def _stays(run: Run) -> bool:
    """Whether nothing of a completed run's row is found out later, as the size of its ZIP may be."""
    return run.archive is None or run.archive.size is not None


def _row(collection: Collection, run: Run, *, may_delete: bool, asks_for_sizes: bool) -> str:
    context: dict[str, object] = {
        "run": run,
        "is_remote": collection.is_remote,
        "may_delete": may_delete,
        "asks_for_sizes": asks_for_sizes,
    }
    address = [collection.pk, run.number]
    context["run_address"] = reverse("run", args=address)
    if run.is_ready:
        folds = run.page_count > PAGES_UNFOLDED and len(run.pages) > PAGES_WHERE_FOLDED
        context["pages"] = run.pages[:PAGES_WHERE_FOLDED] if folds else run.pages
        context["more"] = run.page_count - PAGES_WHERE_FOLDED if folds else 0
        context["page_count"] = run.page_count
        context["after"] = PAGES_WHERE_FOLDED
        context["files"] = files_address(collection, run.number)
        context["export_address"] = reverse("run_export", args=address)
        context["pages_address"] = context["more_address"] = reverse("run_pages", args=address)
        context["archive_size_address"] = reverse("archive_size", args=address)
    elif run.state == State.PROCESSING:
        context["version"] = version(run)
        context["progress"] = progress_of(run)
    if may_delete:
        context["delete_address"] = reverse("run_delete", args=address)
    return render_to_string("download/_run_row.html", context)


def files_address(collection: Collection, number: int) -> str:
    """Return what stands before the file names in the addresses of a run's files."""
    # Made once for a run: {% url %} for each of its files would take most of the page's time.
    return reverse("result_file", args=[collection.pk, number, "-"]).removesuffix("-")
