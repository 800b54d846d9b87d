"""The page of a run: a summary, its files and its records."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db.models import Count, Q, Sum
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from collections_app.models import KINDS_OF_RECORDS, Collection, CollectionPreferences, FileKind, Run, State
from collections_app.models.retention import retention_of
from collections_app.models.runs import prefetch_last_pages
from collections_app.models.verdicts import verdicts_of
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.concurrency import queries_of
from collections_app.records.preview.queries import MOST_SORTED
from collections_app.records.preview.records import files_of_records
from collections_app.records.quality.verdicts import reasons_of
from collections_app.views.changes.summary import changes_summaries
from collections_app.views.download.menu import preferred_format, run_menu, search_menu
from collections_app.views.download.rows import PAGES_WRITTEN, files_address, may_delete_runs, version
from collections_app.views.fragments import wants_fragment
from collections_app.views.run.files import verification_of
from collections_app.views.run.filters import filter_chips
from collections_app.views.run.histograms import chart_row
from collections_app.views.run.lookup import PAGES_UNFOLDED, PAGES_WHERE_FOLDED, find_run, neighbors
from collections_app.views.run.progress import progress_of
from collections_app.views.run.query import RecordQuery, parse_query
from collections_app.views.run.records import record_list
from collections_app.views.run.table import render_result
from collections_app.views.settings.words import kept


@collection_member(Action.SEE)
@require_safe
def run(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show a run. htmx gets the records only.

    `q` searches the records, each `filter` narrows them down, `sort` and `dir` order them, each `column`
    names a column to show, `after` skips that many records, and `columns=all` lists those of all records.
    """
    context = run_context(request, collection, number)
    if not wants_fragment(request):
        context |= neighbors(context["run"])
    fragment = "run/_rows.html" if context["query"].table_query.after else "run/_results.html"
    is_refused = "view" in context and context["view"].is_refused
    return render_result(request, "run/page.html", fragment, context, is_refused=is_refused)


def run_context(request: MemberRequest, collection: Collection, number: int) -> dict[str, Any]:
    """Return the template context for a run. Raises Http404 and BadRequest."""
    query = replace(
        parse_query(request),
        saved_columns=CollectionPreferences.columns_of(request.user, collection),
        currency=collection.currency,
    )
    run = find_run(collection, number, first_files_only=query.is_first_records)
    context: dict[str, Any] = {"collection": collection, "run": run, "query": query}
    context["most_sorted"] = MOST_SORTED
    if run.delete_at:
        context["kept"] = kept(retention_of(collection))
    context["may_delete"] = may_delete_runs(request.membership, collection)
    if run.is_ready:
        context |= _files(run) | _verdict(run)
        context["changes"] = changes_summaries([run]).get(run.pk)
        preferred = preferred_format(request)
        context["menu"] = run_menu(run, preferred)
        if query.table_query.is_narrowed:
            context["search_menu"] = search_menu(run, query.table_query, preferred)
            context["chips"] = filter_chips(query)
        with queries_of(request.user.pk):
            context |= _records(run, query, context["records_size"])
    elif run.state == State.PROCESSING:
        prefetch_last_pages([run], PAGES_WRITTEN)
        context["version"] = version(run)
        context["progress"] = progress_of(run)
    return context


def _verdict(run: Run) -> dict[str, object]:
    """Return the context for a completed run's verdict: its reasons, unless a member has overruled it."""
    verdict = verdicts_of([run]).get(run.pk)
    return {"verdict": verdict, "reasons": reasons_of(verdict) if verdict and not verdict.overrule else []}


def _records(run: Run, query: RecordQuery, size: int | None) -> dict[str, object]:
    """Return the context for the records, and the charts of their columns. Load more adds no charts."""
    files = files_of_records(run)
    view = record_list(files, query, size)
    if not view.rows or query.table_query.after:
        return {"view": view}
    columns = [header.name if header.address else "" for header in view.headers]
    return {"view": view, "charts": chart_row(run, files, query, columns)}


def _files(run: Run) -> dict[str, object]:
    """Return the context for the files of a completed run and their verification."""
    is_folded = run.page_count > PAGES_UNFOLDED
    most = PAGES_WHERE_FOLDED if is_folded else PAGES_UNFOLDED
    # The ZIP comes first: it's the file that users verify most often.
    shown = sorted(
        (file for file in run.ready_files if file.position <= most), key=lambda file: file.position
    )
    return {
        "folder": files_address(run.collection, run.number),
        "files": shown,
        "more_pages": run.page_count - PAGES_WHERE_FOLDED if is_folded else 0,
        "selectable": any(file.kind == FileKind.PAGE and file.is_stored for file in shown),
        "verification": verification_of(run),
        **_sizes(run),
    }


def _sizes(run: Run) -> dict[str, int | None]:
    """Return the size of all files and of those with records, or None if a size is unknown."""
    unknown = Count("pk", filter=Q(size=None))
    kinds = run.files.values_list("kind").annotate(Sum("size"), unknown=unknown)
    sizes = {kind: None if unknown else size for kind, size, unknown in kinds.order_by()}
    of_records = [sizes[kind] for kind in KINDS_OF_RECORDS if kind in sizes]
    return {"total_size": _sum(list(sizes.values())), "records_size": _sum(of_records)}


def _sum(sizes: Sequence[int | None]) -> int | None:
    return None if None in sizes else sum(size or 0 for size in sizes)
