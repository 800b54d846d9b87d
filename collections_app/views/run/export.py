"""Exports of a run's records to other formats: their page, and their files."""

import re
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.text import Truncator
from django.views.decorators.http import require_http_methods, require_safe

from collections_app.models import Collection, Export, Run
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.column_list import encode_columns
from collections_app.records.exports.build import spec_of
from collections_app.records.exports.create import (
    InvalidSpec,
    TooManyQueued,
    create_export,
    deliverable,
    parse_format,
    parse_spec,
    with_filters,
)
from collections_app.records.exports.sample import Sample, is_at_hand, sample
from collections_app.records.formats.export_formats import COMMA, SEMICOLON, ExportSpec, Format
from collections_app.records.preview.filters import parse_filters
from collections_app.records.preview.search import LONGEST_SEARCH
from collections_app.views.download.menu import FORMAT_NAMES, preferred_format, remember_format
from collections_app.views.file_response import file_response
from collections_app.views.fragments import render_fragment, wants_fragment
from collections_app.views.run.filters import narrowing
from collections_app.views.run.lookup import find_ready_run
from collections_app.views.run.query import read_filters

_EXPORTS_SHOWN = 20
_COLUMNS_NAMED = 3
_LONGEST_COLUMN = 60
_IDS = re.compile(r"\d{1,18}(-\d{1,18}){0,99}", re.ASCII)

_ABOUT = {
    Format.XLSX: "A workbook (XLSX).",
    Format.CSV: "A table that almost every program can open.",
    Format.JSON: "A list of the records exactly as they were scraped.",
    Format.JSONL: "The same records, one per line.",
    Format.PARQUET: "Typed columns, for data tools.",
}


@dataclass(frozen=True)
class _Choice:
    """A format in the form."""

    value: str
    label: str
    about: str
    size: int | None
    is_chosen: bool


@dataclass(frozen=True)
class _Listed:
    """An export in the list."""

    export: Export
    label: str
    columns: str
    address: str
    chosen: tuple[str, ...]
    is_started: bool  # its download starts automatically


@collection_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
def run_export(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show the run's exports and the form. On POST, create an export.

    htmx gets the list of exports only, or with `sample` the form only. `start` is the id of the export whose
    download starts automatically.
    """
    run = find_ready_run(collection, number)
    if request.method == "POST":
        _create(request, run, _posted_spec(request), again=True)
        return redirect(f"{reverse('run_export', args=[collection.pk, number])}#exports")
    shows_form = "sample" in request.GET
    takes_sample = shows_form or (not wants_fragment(request) and is_at_hand(run))
    context = export_context(
        run,
        takes_sample=takes_sample,
        preferred=preferred_format(request),
        before=request.GET.get("before", ""),
        start=request.GET.get("start", ""),
    )
    context |= {"collection": collection, "chosen_format": request.GET.get("format", "")}
    context |= _narrowing(request.GET)
    fragment = "run/_export_form.html" if shows_form else "run/_exports.html"
    response = render_fragment(request, "run/export.html", fragment, context)
    # Both show progress.
    response["Cache-Control"] = "no-store"
    return response


@collection_member(Action.SEE, is_file=True)
@require_safe
def run_records(
    request: MemberRequest, collection: Collection, number: int, file_format: str
) -> HttpResponseBase:
    """Send a run's records in a format, or redirect to the page that shows the progress of the export."""
    parsed_format = parse_format(file_format)
    if parsed_format is None:
        raise Http404(f"Unknown format “{file_format}”. Use one of: {', '.join(Format)}.")
    run = find_ready_run(collection, number)
    spec = _parse(parsed_format, request.GET.getlist("columns"), request.GET)
    remember_format(request, parsed_format)
    export = _create(request, run, spec)
    if export is None or not export.is_ready:
        start = f"?start={export.pk}" if export and export.is_under_way else ""
        return redirect(f"{reverse('run_export', args=[collection.pk, number])}{start}#exports")
    return file_response(request, lambda: deliverable(export))


def _create(request: MemberRequest, run: Run, spec: ExportSpec, *, again: bool = False) -> Export | None:
    """Create an export. If the team has too many in the queue, add a message and return None."""
    try:
        return create_export(run, spec, again=again)
    except TooManyQueued as problem:
        messages.error(request, str(problem))
        return None


def export_context(
    run: Run, *, takes_sample: bool, preferred: str = "", before: str = "", start: str = ""
) -> dict[str, object]:
    """Return the context of run/_export_form.html and run/_exports.html.

    `takes_sample` is whether to read the first records for their columns and sizes, which takes a moment if
    they're at an account. `before` names the exports that were in progress when the page was last updated.
    `start` is the id of the export whose download starts when it is ready.
    """
    listed = [_listed(run, export, start) for export in run.exports.newest_first()[:_EXPORTS_SHOWN]]
    under_way = [each.export.pk for each in listed if each.export.is_under_way]
    chosen = parse_format(preferred) or Format.XLSX
    found = sample(run) if takes_sample else Sample()
    return {
        "run": run,
        "export_address": reverse("run_export", args=[run.collection_id, run.number]),
        "takes_sample": takes_sample,
        "sample": found,
        "choices": [
            _Choice(each.value, name, _ABOUT[each], found.sizes.get(each), is_chosen=each == chosen)
            for each, name in FORMAT_NAMES.items()
        ],
        "exports": listed,
        "under_way": "-".join(map(str, under_way)),
        "start": start if start in map(str, under_way) else "",
        "news": _news(listed, before),
    }


def _narrowing(values: QueryDict) -> dict[str, object]:
    """Return the context for an export of matching records: `search`, `filters`, and both in words."""
    search, filters = values.get("q", "").replace("\0", "").strip()[:LONGEST_SEARCH], read_filters(values)
    return {"search": search, "filters": filters, "narrowing": narrowing(search, filters)}


def _news(listed: list[_Listed], before: str) -> str:
    """Return what a screen reader announces: the exports that have finished since the last update."""
    pending = set(map(int, before.split("-"))) if _IDS.fullmatch(before) else set()
    finished = [each for each in listed if each.export.pk in pending and not each.export.is_under_way]
    return " ".join(f"{each.label} {'is ready' if each.export.is_ready else 'failed'}." for each in finished)


def _listed(run: Run, export: Export, start: str) -> _Listed:
    spec = spec_of(export)
    label = FORMAT_NAMES[spec.format] + (" for spreadsheets" if spec.excel else "")
    label += " with semicolons" if spec.separator == SEMICOLON else ""
    more = len(spec.columns) - _COLUMNS_NAMED
    named = (Truncator(name).chars(_LONGEST_COLUMN) for name in spec.columns[:_COLUMNS_NAMED])
    matching = narrowing(spec.search, parse_filters(spec.filters))
    columns = ", ".join(named) + (f" and {more:,} more" if more > 0 else "")
    return _Listed(
        export,
        label,
        (f"Records that match {matching} · " if matching else "") + (columns or "All columns"),
        _records_address(run, spec),
        spec.columns,
        is_started=str(export.pk) == start,
    )


def _records_address(run: Run, spec: ExportSpec) -> str:
    query: dict[str, str | tuple[str, ...]] = {}
    if spec.columns:
        query["columns"] = encode_columns(spec.columns)
    if spec.excel:
        query["excel"] = "1"
    if spec.separator != COMMA:
        query["separator"] = spec.separator
    if spec.search:
        query["q"] = spec.search
    if spec.filters:
        query["filter"] = spec.filters
    address = reverse("run_records", args=[run.collection_id, run.number, spec.format.value])
    return f"{address}?{urlencode(query, doseq=True)}" if query else address


def _posted_spec(request: MemberRequest) -> ExportSpec:
    posted_format = parse_format(request.POST.get("format", ""))
    if posted_format is None:
        raise BadRequest("Choose a format.")
    # Each value is a single name, even if it contains a comma.
    columns = [encode_columns([name]) for name in request.POST.getlist("column")]
    return _parse(posted_format, columns, request.POST)


def _parse(file_format: Format, columns: list[str], options: QueryDict) -> ExportSpec:
    try:
        spec = parse_spec(
            file_format, columns, options.get("excel", ""), options.get("separator", ""), options.get("q", "")
        )
        return with_filters(spec, options.getlist("filter"))
    except InvalidSpec as error:
        raise BadRequest(str(error)) from None
