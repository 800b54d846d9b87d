"""Several runs and pages of a collection as one ZIP, and what the bar under the list says of them."""

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.access import Action, MemberRequest, collection_member
from collections_app.bundles.archives import archive_of, selection_archive
from collections_app.bundles.selection import Selection, Unreadable, files_of, parse
from collections_app.models import Collection, NotDownloadable
from collections_app.sources import Deliverable, ResultNotFound, SourceUnavailable
from collections_app.views.delivered import delivered


@collection_member(Action.SEE, is_file=True)
@require_safe
def selection_zip(request: MemberRequest, collection: Collection) -> HttpResponseBase:
    """Deliver one ZIP of the runs and pages that the address names."""

    def found() -> Deliverable:
        try:
            return selection_archive(collection, _selected(request))
        except Unreadable as problem:
            raise BadRequest(str(problem)) from None

    return delivered(request, found)


@collection_member(Action.SEE, is_file=True)
@require_safe
def selection(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Say how much is selected, with the link to its ZIP, or why it can't be downloaded as one."""
    context: dict[str, object] = {}
    try:
        files = files_of(collection, _selected(request))
        context["size"] = archive_of(collection, files).size
        context["files"] = len(files)
        context["runs"] = len({file.run_id for file in files})
    except (Unreadable, NotDownloadable, ResultNotFound, SourceUnavailable) as problem:
        context["problem"] = str(problem)
    address = reverse("selection_zip", args=[collection.pk])
    context["address"] = f"{address}?{request.GET.urlencode(safe=',.')}"
    return render(request, "download/_selected.html", context)


def _selected(request: MemberRequest) -> Selection:
    return parse(request.GET.getlist("runs"), request.GET.getlist("pages"))
