"""The size of an account's ZIP, which the download page loads for its button."""

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from collections_app.models import Collection, FileKind, ResultFile, State
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.sources import ResultNotFound, SourceUnavailable, source_of


@collection_member(Action.SEE)
@require_safe
def archive_size(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Return the text of the button, or 204 if the size isn't available."""
    ready = ResultFile.objects.filter(run__collection=collection, run__state=State.READY)
    archive = ready.filter(run__number=number, kind=FileKind.ARCHIVE).select_related("run").first()
    if archive is None:
        raise Http404(f"Run {number} has no ZIP.")
    if archive.size is None:
        try:
            source_of(collection).size(archive)
        except (ResultNotFound, SourceUnavailable):
            return HttpResponse(status=204)
    return render(request, "download/_archive_size.html", {"archive": archive})
