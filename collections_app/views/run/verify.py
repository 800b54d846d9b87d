"""Reads a run's files again, when somebody asks for it, and shows how far that is."""

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.files.verification.background import start_verifying
from collections_app.files.verification.verify import BeingVerified
from collections_app.models import Collection, NotDownloadable, Run
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.run.files import verification_of


@collection_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
def verify(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """POST starts; htmx gets how far it is; everybody else the run's page, which says so too."""
    try:
        run = collection.runs.ready_run(number)
    except NotDownloadable as error:
        raise Http404(str(error)) from None
    if request.method == "POST":
        _start(request, run)
    elif request.htmx:
        context = {"run": run, "verification": verification_of(run), "is_news": True}
        return render(request, "run/_verification.html", context)
    return redirect("run", collection.pk, number)


def _start(request: MemberRequest, run: Run) -> None:
    try:
        start_verifying(run, request.user.pk)
    except BeingVerified as problem:
        messages.info(request, str(problem))
