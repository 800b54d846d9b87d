"""The changes between two runs as a file."""

from dataclasses import replace

from django.core.exceptions import BadRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.models import Collection, Comparison, Layout, Run
from collections_app.models.queues import TooManyQueued
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.exports.changes import LAYOUTS
from collections_app.records.exports.create import create_changes_export, deliverable
from collections_app.records.exports.stored_spec import spec_of
from collections_app.records.formats.export_formats import Format
from collections_app.records.tracking.build_comparison import NoKey
from collections_app.records.tracking.comparisons import comparison_of
from collections_app.views.changes.earlier import find_since
from collections_app.views.changes.query import ChangesQuery, read_query
from collections_app.views.download.menu import (
    FORMAT_NAMES,
    Choice,
    DownloadMenu,
    preferred_first,
    remember_format,
)
from collections_app.views.exports import ListedExport, created, label_of, list_context, requested_spec
from collections_app.views.file_response import file_response
from collections_app.views.forms import is_id
from collections_app.views.run.lookup import find_ready_run

_WIDE = "one row per product"
_WIDE_FORMATS = (Format.XLSX, Format.CSV)
_CHANGES = tuple(LAYOUTS.values())


@collection_member(Action.SEE, is_file=True)
@require_safe
def run_changes_file(
    request: MemberRequest, collection: Collection, number: int, file_format: str
) -> HttpResponseBase:
    """Send the changes that the page's parameters select, or redirect to the page if they aren't ready.

    With `layout=wide`, each row is a product. The page shows the progress of a file that takes long.
    """
    query = read_query(request.GET, collection)
    run = find_ready_run(collection, number)
    if query.since is None:
        raise BadRequest("The “since” parameter is missing. It must be the number of an earlier run.")
    spec, layout = requested_spec(request, file_format), _layout(request)
    page = reverse("run_changes", args=[collection.pk, number])
    comparison = _ready_comparison(run, query)
    if comparison is not None:
        wanted = replace(query.changes, after=0, limit=None)
        export = created(request, lambda: create_changes_export(comparison, wanted, spec, layout=layout))
        remember_format(request, spec.format)
        if export is not None and export.is_ready:
            return file_response(request, lambda: deliverable(export))
        if export is not None:
            return redirect(f"{page}{query.address(start=export.pk)}#exports")
    return redirect(page + query.address())


def _layout(request: MemberRequest) -> Layout:
    name = request.GET.get("layout") or "long"
    if name not in LAYOUTS:
        raise BadRequest(f"Unknown “layout” parameter. Use one of: {', '.join(LAYOUTS)}.")
    return LAYOUTS[name]


def _ready_comparison(run: Run, query: ChangesQuery) -> Comparison | None:
    """Return the comparison if it is ready. Otherwise, the page says why not. Raises Http404, BadRequest."""
    since = find_since(run, query)
    if since is None:
        return None
    try:
        comparison = comparison_of(run, since)
    except (NoKey, TooManyQueued):
        return None
    return comparison if comparison.is_ready else None


def changes_menu(run: Run, query: ChangesQuery, preferred: str) -> DownloadMenu:
    """Return the menu of the changes that a query selects."""
    choices = [Choice(each, name, _file(run, query, each)) for each, name in FORMAT_NAMES.items()]
    wide = [
        Choice(each, f"{FORMAT_NAMES[each]}, {_WIDE}", _file(run, query, each, Layout.PRODUCTS))
        for each in _WIDE_FORMATS
    ]
    subject = f"the changes since run {query.since}"
    return DownloadMenu(subject, preferred_first(choices, preferred), more=wide)


def _file(run: Run, query: ChangesQuery, file_format: str, layout: str = Layout.CHANGES) -> str:
    """Return the address of a file."""
    page = reverse("run_changes", args=[run.collection_id, run.number])
    return f"{page}.{file_format}{query.address(layout='wide' if layout == Layout.PRODUCTS else '')}"


def requested_file(request: MemberRequest, run: Run, query: ChangesQuery) -> dict[str, object]:
    """Return the context of _exports.html for the file with the id `start`, or nothing if there is none."""
    start = request.GET.get("start", "")
    found = run.exports.filter(pk=start, layout__in=_CHANGES).first() if is_id(start) else None
    if found is None:
        return {}
    about = f"Changes since run {query.since}"
    listed = ListedExport(
        found,
        label_of(spec_of(found)),
        f"{about}, {_WIDE}" if found.layout == Layout.PRODUCTS else about,
        _file(run, query, found.format, found.layout),
        chosen=(),
        is_started=True,
    )
    page = reverse("run_changes", args=[run.collection_id, run.number])
    address = {"export_address": page, "export_query": f"{query.address()}&"}
    return {**list_context(request, [listed]), **address}
