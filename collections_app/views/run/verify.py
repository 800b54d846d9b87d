"""Verify a run's files, and show the progress."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.files.verification.start import start_verifying
from collections_app.files.verification.verify import VerificationBusy
from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.run.files import verification_of
from collections_app.views.run.lookup import find_ready_run


@collection_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
def verify(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Start on POST. htmx gets the progress; other requests are redirected to the run's page."""
    run = find_ready_run(collection, number)
    if request.method == "POST":
        try:
            start_verifying(run, request.user.pk)
        except VerificationBusy as problem:
            messages.info(request, str(problem))
    elif request.htmx:
        context = {"run": run, "verification": verification_of(run), "is_news": True}
        return render(request, "run/_verification.html", context)
    return redirect("run", collection.pk, number)
