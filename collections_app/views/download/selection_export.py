"""The records of several selected runs as one table: the page of these exports, and their files."""

from collections.abc import Sequence

from django.core.exceptions import BadRequest
from django.db.models import Prefetch
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from collections_app.files.bundles.selection import InvalidSelection, encode_runs, parse, runs_of
from collections_app.models import Collection, Export, Layout, NotDownloadable, Run
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.exports.create import create_joint_export
from collections_app.records.exports.sample import Sample, is_at_hand, sample
from collections_app.records.exports.subject import FORMATS_OF_SEVERAL_RUNS, Subject
from collections_app.views.download.menu import preferred_format, remember_format
from collections_app.views.exports import (
    EXPORTS_SHOWN,
    ListedExport,
    choices,
    created,
    file_or_progress,
    label_of_runs,
    list_context,
    listed_export,
    posted_spec,
    render_exports,
    requested_spec,
)


@collection_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
def selection_export(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Show the exports of several runs and, if `runs` are selected, the form. On POST, create an export.

    htmx gets the list of exports only. `start` is the id of the export whose download starts automatically.
    """
    if request.method == "POST":
        runs = _selected(collection, request.POST.getlist("runs"), request.POST.getlist("pages"))
        subject = Subject.table(runs)
        created(request, lambda: create_joint_export(subject, posted_spec(request), again=True))
        return redirect(f"{_address(collection, runs)}#exports")
    return render_exports(request, "download/export.html", _context(request, collection))


@collection_member(Action.SEE, is_file=True)
@require_safe
def selection_records(request: MemberRequest, collection: Collection, file_format: str) -> HttpResponseBase:
    """Send the records of the selected runs, or redirect to the page that shows the progress."""
    spec = requested_spec(request, file_format, FORMATS_OF_SEVERAL_RUNS)
    runs = _selected(collection, request.GET.getlist("runs"), request.GET.getlist("pages"))
    export = created(request, lambda: create_joint_export(Subject.table(runs), spec))
    remember_format(request, spec.format)
    return file_or_progress(request, export, _address(collection, runs))


def _selected(collection: Collection, runs: Sequence[str], pages: Sequence[str]) -> list[Run]:
    try:
        return runs_of(collection, parse(runs, pages))
    except InvalidSelection as problem:
        raise BadRequest(str(problem)) from None
    except NotDownloadable as problem:
        raise Http404(str(problem)) from None


def _address(collection: Collection, runs: Sequence[Run]) -> str:
    selected = encode_runs(run.number for run in runs)
    return f"{reverse('selection_export', args=[collection.pk])}?runs={selected}"


def _context(request: MemberRequest, collection: Collection) -> dict[str, object]:
    context = list_context(request, _listed(collection, request.GET.get("start", "")))
    context |= {"collection": collection, "export_address": reverse("selection_export", args=[collection.pk])}
    if "runs" in request.GET or "pages" in request.GET:
        runs = _selected(collection, request.GET.getlist("runs"), request.GET.getlist("pages"))
        context |= _form_context(request, runs)
    return context


def _form_context(request: MemberRequest, runs: Sequence[Run]) -> dict[str, object]:
    newest = runs[0]
    found = sample(newest) if is_at_hand(newest) else Sample()
    chosen = request.GET.get("format", "") or preferred_format(request)
    selected = encode_runs(run.number for run in runs)
    return {
        "runs": selected,
        "runs_label": label_of_runs(selected),
        "run_count": len(runs),
        "takes_sample": True,
        "sample": found,
        # The sizes are those of one run.
        "choices": choices(chosen, Sample(), FORMATS_OF_SEVERAL_RUNS),
    }


def _listed(collection: Collection, start: str) -> list[ListedExport]:
    """Return the newest exports of several runs of the collection."""
    found = Export.objects.filter(run__collection=collection, layout=Layout.RUNS)
    others = Prefetch("other_runs", Run.objects.only("number"))
    exports = found.select_related("run").prefetch_related(others).order_by("-created_at", "-pk")
    return [_listed_one(each, collection, start) for each in exports[:EXPORTS_SHOWN]]


def _listed_one(export: Export, collection: Collection, start: str) -> ListedExport:
    numbers = [export.run.number, *(run.number for run in export.other_runs.all())]
    address = reverse("selection_records", args=[collection.pk, export.format])
    return listed_export(export, address, start, encode_runs(numbers))
