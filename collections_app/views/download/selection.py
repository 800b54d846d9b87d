"""Selected runs and pages as one file, and the bar that shows their size."""

from collections.abc import Callable

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.files.bundles.merged import merged_selection
from collections_app.files.bundles.selection import InvalidSelection, Selection, files_of, parse
from collections_app.files.bundles.zip_downloads import archive_of, selection_archive
from collections_app.models import Collection, NotDownloadable
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.sources import Deliverable, ResultNotFound, SourceUnavailable
from collections_app.views.download.menu import preferred_format, selection_menu
from collections_app.views.file_response import file_response


@collection_member(Action.SEE, is_file=True)
@require_safe
def selection_zip(request: MemberRequest, collection: Collection) -> HttpResponseBase:
    """Send a ZIP of the selected runs and pages."""
    return _bundle_response(request, collection, selection_archive)


@collection_member(Action.SEE, is_file=True)
@require_safe
def selection_json(request: MemberRequest, collection: Collection) -> HttpResponseBase:
    """Send all records of the selected runs and pages as one JSON list."""
    return _bundle_response(request, collection, merged_selection)


def _bundle_response(
    request: MemberRequest, collection: Collection, bundle: Callable[[Collection, Selection], Deliverable]
) -> HttpResponseBase:
    def find() -> Deliverable:
        try:
            return bundle(collection, _selected(request))
        except InvalidSelection as problem:
            raise BadRequest(str(problem)) from None

    return file_response(request, find)


@collection_member(Action.SEE, is_file=True)
@require_safe
def selection(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Show the size of the selection and the links to download it, or why it can't be downloaded."""
    context: dict[str, object] = {}
    try:
        files = files_of(collection, _selected(request))
        context["size"] = archive_of(collection, files).size
        context["files"] = len(files)
        context["runs"] = len({file.run_id for file in files})
    except (InvalidSelection, NotDownloadable, ResultNotFound, SourceUnavailable) as problem:
        context["problem"] = str(problem)
    query = request.GET.urlencode(safe=",.")
    for name in ("selection_zip", "selection_json"):
        context[name] = f"{reverse(name, args=[collection.pk])}?{query}"
    if "pages" not in request.GET:
        context["menu"] = selection_menu(collection, query, preferred_format(request))
    return render(request, "download/_selection.html", context)


def _selected(request: MemberRequest) -> Selection:
    return parse(request.GET.getlist("runs"), request.GET.getlist("pages"))
