"""Last night's runs of all collections as one ZIP or workbook, and the page that lists its contents."""

from dataclasses import replace

from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from collections_app.files.bundles.selection import InvalidSelection
from collections_app.files.bundles.zip_downloads import collections_archive, stored_files_of
from collections_app.files.names import last_night_name
from collections_app.models import Export, ResultFile
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.records.exports.create import create_joint_export, deliverable
from collections_app.records.exports.subject import Subject
from collections_app.records.formats.export_formats import ExportSpec, Format
from collections_app.views.download.menu import ZIP, last_night_menu, preferred_format, remember_format
from collections_app.views.exports import (
    created,
    file_or_progress,
    list_context,
    listed_export,
    render_exports,
)
from collections_app.views.file_response import file_response
from collections_app.views.overview.night_runs import NightRuns, night_runs

_WORKBOOK = ExportSpec(Format.XLSX)


@team_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
def last_night(request: MemberRequest) -> HttpResponse:
    """Show what can be downloaded, and the progress of the workbook. On POST, create it again.

    htmx gets the workbook only. `start` is the id of the export whose download starts automatically.
    """
    night = night_runs(request.membership.team)
    if request.method == "POST":
        if night.runs:
            _workbook(request, night, again=True)
        return redirect(f"{reverse('last_night')}#exports")
    return render_exports(request, "overview/last_night.html", _context(request, night))


@team_member(Action.SEE, is_file=True)
@require_safe
def last_night_zip(request: MemberRequest) -> HttpResponseBase:
    """Send a ZIP of the original files, with a folder for each collection."""
    night = night_runs(request.membership.team)
    files = _stored(night)
    if not files:
        raise Http404("No files of last night's runs are stored here.")
    remember_format(request, ZIP)
    name, readme = _file_name(night, ZIP), night.readme(files)
    return file_response(request, lambda: collections_archive(name, files, readme))


@team_member(Action.SEE, is_file=True)
@require_safe
def last_night_workbook(request: MemberRequest) -> HttpResponseBase:
    """Send a workbook with a sheet for each collection, or redirect to the page that shows its progress."""
    night = night_runs(request.membership.team)
    export = _workbook(request, night)
    remember_format(request, Format.XLSX)
    name = _file_name(night, Format.XLSX)
    return file_or_progress(request, export, reverse("last_night"), lambda export: deliverable(export, name))


def _stored(night: NightRuns) -> dict[int, list[ResultFile]]:
    """Return the files for the ZIP by run id, in the order of the collections. Raises BadRequest."""
    try:
        found = stored_files_of(night.runs)
    except InvalidSelection as problem:
        raise BadRequest(str(problem)) from None
    return {run.pk: found[run.pk] for run in night.runs if run.pk in found}


def _workbook(request: MemberRequest, night: NightRuns, *, again: bool = False) -> Export | None:
    if not night.runs:
        raise Http404("None of last night's runs has completed yet.")
    subject = Subject.workbook(night.runs)
    return created(request, lambda: create_joint_export(subject, _WORKBOOK, again=again))


def _file_name(night: NightRuns, ending: str) -> str:
    return last_night_name(night.team.name, night.night.evening.date(), ending)


def _context(request: MemberRequest, night: NightRuns) -> dict[str, object]:
    start = request.GET.get("start", "")
    address = reverse("last_night_workbook")
    exports, menu = _existing(night), last_night_menu(preferred_format(request))
    return {
        "night": night.night,
        "entries": night.entries,
        "included": len(night.runs),
        "menu": replace(menu, contents_address="") if night.runs else None,
        "export_address": reverse("last_night"),
        **list_context(request, [listed_export(each, address, start) for each in exports]),
    }


def _existing(night: NightRuns) -> list[Export]:
    """Return the workbook of these runs, if it was requested before."""
    if not night.runs:
        return []
    subject = Subject.workbook(night.runs)
    return list(Export.objects.filter(run=subject.runs[0], digest=subject.digest(_WORKBOOK)))
