"""The rows in the list of runs, and a cache of those of completed runs, which never change.

A row depends on nothing but the context that `_render` builds, and its cache key contains everything in it
that can differ. So no user sees a row of another role, or an outdated one. Each process has its own cache,
and a new version of the templates starts new processes.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple
from zlib import crc32

from django.core.cache import caches
from django.template.loader import render_to_string
from django.urls import reverse

from collections_app.models import Collection, Membership, Run, State, Verdict
from collections_app.models.runs import prefetch_first_files, prefetch_last_pages
from collections_app.models.verdicts import verdicts_of
from collections_app.people.access import Action, may
from collections_app.views.changes.summary import ChangesSummary, awaits_comparison, changes_summaries
from collections_app.views.download.menu import run_menu
from collections_app.views.fragments import without_indentation
from collections_app.views.run.progress import is_idle, progress_of

# A row links to the first pages of its run, and to a list of all. On most screens, runs.css shows fewer.
_PAGES_SHOWN = 6
_PAGES_SHOWN_NARROW = 2
# Labels longer than "+97 pages" leave no room for links to pages.
_MOST_PAGES_NARROW = 99

# The pace of a run in progress is that of its last pages.
PAGES_WRITTEN = 6

# Names can be long, and settings.CACHES limits only the number of rows.
_LONGEST_CACHED = 16_000


class _Varying(NamedTuple):
    """What a row depends on, besides its run, its collection and the Download menu."""

    changes: ChangesSummary | None
    verdict: Verdict | None
    may_delete: bool
    loads_sizes: bool


def run_rows(
    collection: Collection, runs: Sequence[Run], *, preferred: str, may_delete: bool, loads_sizes: bool
) -> list[str]:
    """Return the HTML of the runs' rows, in order. The files of cached rows aren't queried.

    `preferred` is the first format in the Download menus. `loads_sizes` makes rows of unknown ZIP size load
    it when they're scrolled into view.
    """
    cache = caches["run_rows"]
    verdicts = verdicts_of(runs)
    changes = changes_summaries(runs, verdicts)
    menu = f"{preferred}_{_saved_exports(collection)}"
    varying = {
        run.pk: _Varying(changes.get(run.pk), verdicts.get(run.pk), may_delete, loads_sizes) for run in runs
    }
    keys = {run.pk: _key(run, menu, varying[run.pk]) for run in runs if run.is_ready}
    cached = cache.get_many(keys.values())
    missing = [run for run in runs if run.is_ready and keys[run.pk] not in cached]
    if missing:
        prefetch_first_files(missing, _PAGES_SHOWN)
    unfinished = [run for run in runs if run.state == State.PROCESSING]
    if unfinished:
        prefetch_last_pages(unfinished, PAGES_WRITTEN)
    new: dict[str, str] = {}
    rows: list[str] = []
    for run in runs:
        key = keys.get(run.pk, "")
        row = cached.get(key) or _render(collection, run, preferred, varying[run.pk])
        if key and key not in cached and _is_final(run) and len(row) <= _LONGEST_CACHED:
            new[key] = row
        rows.append(row)
    cache.set_many(new)
    return rows


def may_delete_runs(membership: Membership, collection: Collection) -> bool:
    """Whether a member may delete the collection's runs. Runs of an account can't be deleted here."""
    return not collection.is_remote and may(membership, Action.MANAGE_COLLECTIONS)


def version(run: Run, verdict: Verdict | None = None, changes: ChangesSummary | None = None) -> str:
    """Return a token that changes whenever the rendered row of an unfinished run changes.

    It also changes when a completed run has been judged and compared.
    """
    shown = (verdict.shown if verdict else "", changes.text if changes else "")
    facts = (run.status, run.updated_at.timestamp(), run.extracted, run.total, is_idle(run), shown)
    return f"{crc32(repr(facts).encode()):08x}"


def _saved_exports(collection: Collection) -> str:
    """Return a token that changes with the saved exports in the menus."""
    saved = collection.export_menu
    return blake2b(repr(saved).encode(), digest_size=8).hexdigest() if saved else ""


def _key(run: Run, menu: str, varying: _Varying) -> str:
    """Return the cache key of a completed run's row. Its number, collection and files never change."""
    times = f"{run.created_at.timestamp()}_{run.updated_at.timestamp()}"
    counts = f"{run.extracted}_{run.total}_{run.file_count}"
    marks = f"{run.is_kept:d}{run.is_pinned:d}{run.delete_at.timestamp() if run.delete_at else ''}"
    changes, verdict = varying.changes, varying.verdict
    changed = f"{crc32(repr(changes).encode()):08x}" if changes else ""
    shown = f"{verdict.shown if verdict else ''}{awaits_comparison(run, verdict, changes):d}"
    return f"{run.pk}_{times}_{counts}_{marks}_{changed}_{shown}_{varying.may_delete:d}{menu}"


def _is_final(run: Run) -> bool:
    """Whether a completed run's row can't change, as it does once the size of an account's ZIP is known."""
    return run.archive is None or run.archive.size is not None


def _render(collection: Collection, run: Run, preferred: str, varying: _Varying) -> str:
    context: dict[str, object] = {"run": run, "is_remote": collection.is_remote, **varying._asdict()}
    address = [collection.pk, run.number]
    context["run_address"] = reverse("run", args=address)
    if run.is_ready:
        context |= _pages(run)
        context["files"] = files_address(collection, run.number)
        context["menu"] = run_menu(run, preferred)
        context["pages_address"] = reverse("run_pages", args=address)
        context["quality_address"] = reverse("run_quality", args=address)
        context["commands_address"] = reverse("run_commands", args=address)
        context["archive_size_address"] = reverse("archive_size", args=address)
    elif run.state == State.PROCESSING:
        context["progress"] = progress_of(run)
    verdict, changes = varying.verdict, varying.changes
    if run.state == State.PROCESSING or awaits_comparison(run, verdict, changes):
        context["version"] = version(run, verdict, changes)
    if run.state != State.PROCESSING:
        context["pin_address"] = reverse("run_pin", args=address)
    if varying.may_delete:
        context["delete_address"] = reverse("run_delete", args=address)
    return without_indentation(render_to_string("download/_run_row.html", context))


def _pages(run: Run) -> dict[str, object]:
    """Return the context for the pages of a completed run, for each width of the screen."""
    count = run.page_count
    return {
        "pages": run.pages[:_PAGES_SHOWN],
        "page_count": count,
        "more": count - _PAGES_SHOWN,
        "more_narrow": count - _PAGES_SHOWN_NARROW,
        # Hiding a single page would save no room.
        "is_folded_narrow": count > _PAGES_SHOWN_NARROW + 1,
        "is_number_only": count > _MOST_PAGES_NARROW,
    }


def files_address(collection: Collection, number: int) -> str:
    """Return the address of a run's files, to which a file's name is appended."""
    # Once per run: {% url %} for each file would take most of the page's time.
    return reverse("result_file", args=[collection.pk, number, "-"]).removesuffix("-")
