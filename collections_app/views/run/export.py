"""Exports of a run's records to other formats: their page, and their files."""

from dataclasses import replace
from urllib.parse import urlencode

from django.forms import Form
from django.http import HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from collections_app.models import Collection, Layout, Run
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.exports.create import create_export
from collections_app.records.exports.sample import Sample, is_at_hand, sample
from collections_app.records.exports.saved import saved_export
from collections_app.records.formats.export_formats import ExportSpec
from collections_app.records.preview.search import LONGEST_SEARCH
from collections_app.views.download.menu import preferred_format, remember_format
from collections_app.views.exports import (
    EXPORTS_SHOWN,
    choices,
    created,
    file_or_progress,
    list_context,
    listed_export,
    posted_spec,
    render_exports,
    requested_spec,
)
from collections_app.views.fragments import wants_fragment
from collections_app.views.run.filters import narrowing
from collections_app.views.run.lookup import find_ready_run
from collections_app.views.run.query import read_filters


@collection_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
def run_export(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show the run's exports and the form. On POST, create an export.

    htmx gets the list of exports only, or with `sample` the form only. `start` is the id of the export whose
    download starts automatically, under the name of the export that is `saved` at this address, if any.
    """
    run = find_ready_run(collection, number)
    if request.method == "POST":
        created(request, lambda: create_export(run, posted_spec(request), again=True))
        return redirect(f"{_address(run)}#exports")
    return export_page(request, run)


def export_page(
    request: MemberRequest, run: Run, *, spec: ExportSpec | None = None, save_form: Form | None = None
) -> HttpResponse:
    """Return the page. `spec` is what the form shows, and `save_form` has errors."""
    shows_form = "sample" in request.GET
    takes_sample = shows_form or (not wants_fragment(request) and is_at_hand(run))
    context = _context(request, run, takes_sample=takes_sample)
    context |= {"collection": run.collection, "save_form": save_form, "chosen": spec, "may_save": True}
    context["chosen_format"] = spec.format if spec else request.GET.get("format", "")
    context |= _narrowing(request.POST if spec else request.GET)
    fragment = "_export_form.html" if shows_form else "_exports.html"
    return render_exports(request, "run/export.html", context, fragment)


@collection_member(Action.SEE, is_file=True)
@require_safe
def run_records(
    request: MemberRequest, collection: Collection, number: int, file_format: str
) -> HttpResponseBase:
    """Send a run's records in a format, or redirect to the page that shows the progress of the export."""
    run = find_ready_run(collection, number)
    spec = requested_spec(request, file_format)
    remember_format(request, spec.format)
    export = created(request, lambda: create_export(run, spec))
    return file_or_progress(request, export, _address(run))


def _address(run: Run) -> str:
    return reverse("run_export", args=[run.collection_id, run.number])


def _narrowing(values: QueryDict) -> dict[str, object]:
    """Return the context for an export of matching records: `search`, `filters`, and both in words."""
    search, filters = values.get("q", "").replace("\0", "").strip()[:LONGEST_SEARCH], read_filters(values)
    return {"search": search, "filters": filters, "narrowing": narrowing(search, filters)}


def _context(request: MemberRequest, run: Run, *, takes_sample: bool) -> dict[str, object]:
    """Return the context of the page.

    `takes_sample` is whether to read the first records for their columns and sizes, which takes a moment if
    they're at an account.
    """
    start = request.GET.get("start", "")
    found = sample(run) if takes_sample else Sample()
    folder = reverse("run", args=[run.collection_id, run.number])
    exports = run.exports.filter(layout=Layout.RUN).newest_first()[:EXPORTS_SHOWN]
    listed = [listed_export(each, f"{folder}records.{each.format}", start) for each in exports]
    saved = saved_export(run.collection, request.GET["saved"]) if "saved" in request.GET else None
    if saved is not None:
        # The file that was requested has the name of the saved export.
        address = reverse("run_saved_export", args=[run.collection_id, run.number, saved.file_name])
        listed = [replace(each, address=address) if each.is_started else each for each in listed]
    return {
        "run": run,
        "export_address": _address(run),
        "export_query": f"?{urlencode({'saved': saved.file_name})}&" if saved else "",
        "takes_sample": takes_sample,
        "sample": found,
        "choices": choices(preferred_format(request), found),
        **list_context(request, listed),
    }
