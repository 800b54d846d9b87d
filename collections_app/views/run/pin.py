"""Pin a run, so that its collection keeps it."""

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from collections_app.models import Collection
from collections_app.models.retention import pin_runs, unpin_run
from collections_app.people.access import Action, MemberRequest, collection_member


@collection_member(Action.PIN_RUNS)
@require_POST
def run_pin(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Pin the run, or unpin it if `pin` is "off". With `list`, return to the list of runs."""
    run = collection.runs.filter(number=number).first()
    if run is None:
        raise Http404(f"This collection has no run {number}. It may have been deleted.")
    if request.POST.get("pin") == "off":
        unpin_run(run)
        messages.success(request, f"Unpinned run {number}.")
    else:
        pin_runs(collection.runs.filter(pk=run.pk), by=request.user)
        messages.success(request, f"Pinned run {number}. Pinned runs are never deleted automatically.")
    if "list" in request.POST:
        return redirect(f"{reverse('download', args=[collection.pk])}?run={number}")
    return redirect("run", collection.pk, number)
