"""A run's records in another format: the page where it is asked for, and the file."""

import re
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.text import Truncator
from django.views.decorators.http import require_http_methods, require_safe

from collections_app.models import Collection, Export, NotDownloadable, Run
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.exports.build import spec_of
from collections_app.records.exports.create import (
    InvalidSpec,
    TooManyQueued,
    create_export,
    deliverable,
    encode_columns,
    parse_format,
    parse_spec,
)
from collections_app.records.exports.sample import Sample, is_at_hand, sample
from collections_app.records.formats.records_file import ExportSpec, Format
from collections_app.views.file_response import delivered

_LISTED = 20
_COLUMNS_NAMED = 3
_NAME_SHOWN = 60
_IDS = re.compile(r"\d{1,18}(-\d{1,18}){0,99}", re.ASCII)

_FORMATS = {
    Format.CSV: ("CSV", "A table for nearly every program."),
    Format.XLSX: ("Excel", "A workbook (XLSX)."),
    Format.JSON: ("JSON", "One array with the records as they were scraped."),
    Format.JSONL: ("JSON Lines", "The same with one record on each line."),
    Format.PARQUET: ("Parquet", "Columns with types, for data tools."),
}


@dataclass(frozen=True)
class _Choice:
    """A format as the form offers it."""

    value: str
    label: str
    about: str
    size: int | None
    is_chosen: bool


@dataclass(frozen=True)
class _Listed:
    """An export as the page lists it."""

    export: Export
    label: str
    columns: str
    address: str
    chosen: tuple[str, ...]


@collection_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
def run_export(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show what the run's records can be had as and what was made already; POST asks for one.

    htmx gets the list of what was made alone, and with `sample` the form.
    """
    run = _ready_run(collection, number)
    if request.method == "POST":
        _asked(request, run, _posted(request), again=True)
        return redirect(f"{reverse('run_export', args=[collection.pk, number])}#made")
    if request.htmx and not request.htmx.history_restore_request:
        shows_form = "sample" in request.GET
        context = export_context(run, looks=shows_form, before=request.GET.get("before", ""))
        template = "run/_export_form.html" if shows_form else "run/_exports.html"
    else:
        context = export_context(run, looks="sample" in request.GET or is_at_hand(run))
        template = "run/export.html"
    context |= {"collection": collection, "chosen_format": request.GET.get("format", "")}
    response = render(request, template, context)
    # A fragment and the whole page share an address, and both tell how far things are.
    patch_vary_headers(response, ["HX-Request"])
    response["Cache-Control"] = "no-store"
    return response


@collection_member(Action.SEE, is_file=True)
@require_safe
def run_records(
    request: MemberRequest, collection: Collection, number: int, file_format: str
) -> HttpResponseBase:
    """Deliver a run's records in a format, or lead to the page that shows how far they are."""
    wanted = parse_format(file_format)
    if wanted is None:
        raise Http404(f"There is no format “{file_format}”. The formats are {', '.join(Format)}.")
    run = _ready_run(collection, number)
    spec = _spec(wanted, request.GET.getlist("columns"), request.GET.get("excel", ""))
    export = _asked(request, run, spec)
    if export is None or not export.is_ready:
        return redirect(f"{reverse('run_export', args=[collection.pk, number])}#made")
    return delivered(request, lambda: deliverable(export))


def _asked(request: MemberRequest, run: Run, spec: ExportSpec, *, again: bool = False) -> Export | None:
    """Ask for an export; None where too many are waited for, which the next page says."""
    try:
        return create_export(run, spec, again=again)
    except TooManyQueued as problem:
        messages.error(request, str(problem))
        return None


def export_context(run: Run, *, looks: bool, before: str = "") -> dict[str, object]:
    """Return what run/_export_form.html and run/_exports.html show, for whatever page includes them.

    `looks` is whether the first records are looked at, which takes a moment where they are at an account.
    `before` names the exports that were under way when the reader looked last.
    """
    found = sample(run) if looks else Sample()
    made = [_listed(run, export) for export in run.exports.newest_first()[:_LISTED]]
    under_way = [each.export.pk for each in made if each.export.is_under_way]
    return {
        "run": run,
        "export_address": reverse("run_export", args=[run.collection_id, run.number]),
        "looks": looks,
        "sample": found,
        "choices": [
            _Choice(each.value, *_FORMATS[each], found.sizes.get(each), is_chosen=each == Format.CSV)
            for each in _FORMATS
        ],
        "made": made,
        "under_way": "-".join(map(str, under_way)),
        "news": _news(made, before),
    }


def _news(made: list[_Listed], before: str) -> str:
    """Return in words what has ended since the reader looked last."""
    waited_for = set(map(int, before.split("-"))) if _IDS.fullmatch(before) else set()
    ended = [each for each in made if each.export.pk in waited_for and not each.export.is_under_way]
    return " ".join(f"{each.label} {'is ready' if each.export.is_ready else 'failed'}." for each in ended)


def _listed(run: Run, export: Export) -> _Listed:
    spec = spec_of(export)
    label = _FORMATS[spec.format][0] + (" for spreadsheets" if spec.excel else "")
    more = len(spec.columns) - _COLUMNS_NAMED
    named = (Truncator(name).chars(_NAME_SHOWN) for name in spec.columns[:_COLUMNS_NAMED])
    columns = ", ".join(named) + (f" and {more:,} more" if more > 0 else "")
    return _Listed(export, label, columns or "All columns", _records_address(run, spec), spec.columns)


def _records_address(run: Run, spec: ExportSpec) -> str:
    query = {}
    if spec.columns:
        query["columns"] = encode_columns(spec.columns)
    if spec.excel:
        query["excel"] = "1"
    address = reverse("run_records", args=[run.collection_id, run.number, spec.format.value])
    return f"{address}?{urlencode(query)}" if query else address


def _ready_run(collection: Collection, number: int) -> Run:
    try:
        return collection.runs.ready_run(number)
    except NotDownloadable as error:
        raise Http404(str(error)) from None


def _posted(request: MemberRequest) -> ExportSpec:
    wanted = parse_format(request.POST.get("format", ""))
    if wanted is None:
        raise BadRequest("Choose one of the formats.")
    # Each of them is one name, whatever it has in it.
    columns = [encode_columns([name]) for name in request.POST.getlist("column")]
    return _spec(wanted, columns, request.POST.get("excel", ""))


def _spec(wanted: Format, columns: list[str], excel: str) -> ExportSpec:
    try:
        return parse_spec(wanted, columns, excel)
    except InvalidSpec as error:
        raise BadRequest(str(error)) from None
