"""What the pages about exports share: the list of exports, and the form that creates one."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.text import Truncator

from collections_app.models import Export, Layout
from collections_app.models.queues import TooManyQueued
from collections_app.people.access import MemberRequest
from collections_app.records.column_list import encode_columns
from collections_app.records.exports.create import (
    deliverable,
    parse_format,
    spec_of_options,
)
from collections_app.records.exports.sample import Sample
from collections_app.records.exports.stored_spec import spec_of
from collections_app.records.exports.subject import InvalidSpec
from collections_app.records.formats.export_formats import COMMA, SEMICOLON, ExportSpec, Format
from collections_app.records.preview.filters import parse_filters
from collections_app.sources import Deliverable
from collections_app.views.download.menu import FORMAT_NAMES
from collections_app.views.file_response import file_response
from collections_app.views.fragments import render_fragment
from collections_app.views.run.filters import narrowing

EXPORTS_SHOWN = 20
_COLUMNS_NAMED = 3
_LONGEST_COLUMN = 60
_LONGEST_RUNS = 60
_IDS = re.compile(r"\d{1,18}(-\d{1,18}){0,99}", re.ASCII)

_ABOUT = {
    Format.XLSX: "A workbook (XLSX).",
    Format.CSV: "A table that almost every program can open.",
    Format.JSON: "A list of the records exactly as they were scraped.",
    Format.JSONL: "The same records, one per line.",
    Format.PARQUET: "Typed columns, for data tools.",
}


@dataclass(frozen=True)
class Choice:
    """A format in the form."""

    value: str
    label: str
    about: str
    size: int | None
    is_chosen: bool


@dataclass(frozen=True)
class ListedExport:
    """An export in the list."""

    export: Export
    label: str
    about: str
    address: str
    chosen: tuple[str, ...]
    is_started: bool  # its download starts automatically
    runs: str = ""  # several runs, as in URLs

    @property
    def unit(self) -> str:
        """What the export contains, in the plural."""
        return "changes" if self.export.has_changes else "records"

    @property
    def runs_label(self) -> str:
        """The runs in words; see label_of_runs()."""
        return label_of_runs(self.runs)


def choices(preferred: str, sample: Sample, formats: Iterable[Format] = FORMAT_NAMES) -> list[Choice]:
    """Return the formats of the form. `preferred` is the format to select, if it is one of them."""
    offered = list(formats)
    chosen = preferred if preferred in offered else Format.XLSX
    return [
        Choice(each.value, FORMAT_NAMES[each], _ABOUT[each], sample.sizes.get(each), is_chosen=each == chosen)
        for each in offered
    ]


def list_context(request: MemberRequest, listed: Sequence[ListedExport]) -> dict[str, object]:
    """Return the context of _exports.html, except for `export_address`.

    The parameter `before` names the exports that were in progress when the page was last updated. `start` is
    the id of the export whose download starts when it is ready.
    """
    before, start = request.GET.get("before", ""), request.GET.get("start", "")
    under_way = [each.export.pk for each in listed if each.export.is_under_way]
    return {
        "exports": listed,
        "under_way": "-".join(map(str, under_way)),
        "start": start if start in map(str, under_way) else "",
        "news": _news(listed, before),
    }


def render_exports(
    request: MemberRequest, page: str, context: dict[str, object], fragment: str = "_exports.html"
) -> HttpResponse:
    """Return a page with exports, or htmx's part of it."""
    response = render_fragment(request, page, fragment, context)
    response["Cache-Control"] = "no-store"  # it shows progress
    return response


def _news(listed: Iterable[ListedExport], before: str) -> str:
    """Return what a screen reader announces: the exports that have finished since the last update."""
    pending = set(map(int, before.split("-"))) if _IDS.fullmatch(before) else set()
    finished = [each for each in listed if each.export.pk in pending and not each.export.is_under_way]
    return " ".join(f"{each.label} {'is ready' if each.export.is_ready else 'failed'}." for each in finished)


def listed_export(export: Export, address: str, start: str, runs: str = "") -> ListedExport:
    """Return an export for the list. `address` is that of its file, without options."""
    spec = spec_of(export)
    query = urlencode(_query(spec, runs), doseq=True)
    return ListedExport(
        export,
        label_of(spec),
        "A sheet for each collection" if export.layout == Layout.SHEETS else about(spec),
        f"{address}?{query}" if query else address,
        spec.columns,
        is_started=str(export.pk) == start,
        runs=runs,
    )


def label_of(spec: ExportSpec) -> str:
    """Return the format of an export in words."""
    label = FORMAT_NAMES[spec.format] + (" for spreadsheets" if spec.excel else "")
    return f"{label} with semicolons" if spec.separator == SEMICOLON else label


def about(spec: ExportSpec) -> str:
    """Return the content of an export in words: which records, and which columns."""
    more = len(spec.columns) - _COLUMNS_NAMED
    named = (Truncator(name).chars(_LONGEST_COLUMN) for name in spec.columns[:_COLUMNS_NAMED])
    columns = ", ".join(named) + (f" and {more:,} more" if more > 0 else "")
    matching = narrowing(spec.search, parse_filters(spec.filters))
    return (f"Records that match {matching} · " if matching else "") + (columns or "All columns")


def _query(spec: ExportSpec, runs: str) -> dict[str, str | tuple[str, ...]]:
    values: dict[str, str | tuple[str, ...]] = {
        "runs": runs,
        "columns": encode_columns(spec.columns),
        "excel": "1" if spec.excel else "",
        "separator": spec.separator if spec.separator != COMMA else "",
        "q": spec.search,
        "filter": spec.filters,
        "missing": "empty" if spec.allows_missing else "",
    }
    return {name: value for name, value in values.items() if value}


def label_of_runs(runs: str) -> str:
    """Return runs as in URLs in words, such as "Runs 88-91, 95"."""
    numbers = Truncator(runs.replace(",", ", ")).chars(_LONGEST_RUNS)
    return f"Run {numbers}" if runs.isdecimal() else f"Runs {numbers}"


def created(request: MemberRequest, create: Callable[[], Export]) -> Export | None:
    """Return the export that `create` returns. If the team has too many in the queue, add a message."""
    try:
        return create()
    except TooManyQueued as problem:
        messages.error(request, str(problem))
        return None
    except InvalidSpec as problem:
        raise BadRequest(str(problem)) from None


def file_or_progress(
    request: MemberRequest,
    export: Export | None,
    page: str,
    file_of: Callable[[Export], Deliverable] = deliverable,
) -> HttpResponseBase:
    """Send the file of a ready export. Otherwise, redirect to the page that shows its progress."""
    if export is None or not export.is_ready:
        start = f"{'&' if '?' in page else '?'}start={export.pk}" if export and export.is_under_way else ""
        return redirect(f"{page}{start}#exports")
    return file_response(request, lambda: file_of(export))


def posted_spec(request: MemberRequest) -> ExportSpec:
    """Return the spec in the form. Raises BadRequest."""
    posted_format = parse_format(request.POST.get("format", ""))
    if posted_format is None:
        raise BadRequest("Choose a format.")
    # Each value is a single name, even if it contains a comma.
    columns = [encode_columns([name]) for name in request.POST.getlist("column")]
    return _parse(posted_format, columns, request.POST)


def requested_spec(
    request: MemberRequest, file_format: str, formats: Sequence[Format] = tuple(Format)
) -> ExportSpec:
    """Return the spec of a file's address. Raises Http404 for an unknown format, BadRequest."""
    parsed_format = parse_format(file_format)
    if parsed_format is None or parsed_format not in formats:
        raise Http404(f"Unknown format “{file_format}”. Use one of: {', '.join(formats)}.")
    return _parse(parsed_format, request.GET.getlist("columns"), request.GET)


def _parse(file_format: Format, columns: list[str], options: QueryDict) -> ExportSpec:
    try:
        return spec_of_options(file_format, columns, options)
    except InvalidSpec as error:
        raise BadRequest(str(error)) from None
