"""Delete a run."""

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.removal import cache_names, delete_cached
from collections_app.runs.lease import RunIsBeingWritten
from collections_app.runs.removal import delete_run


@collection_member(Action.MANAGE_COLLECTIONS)
@require_http_methods(["GET", "HEAD", "POST"])
def run_delete(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Ask for confirmation. On POST, delete the run and its files."""
    run = collection.runs.filter(number=number).with_files().first()
    if run is None:
        raise Http404(f"This collection has no run {number}. It may have been deleted.")
    if collection.is_remote:
        messages.error(
            request,
            f"Run {number} can't be deleted here. It belongs to the account “{collection.account}”, which "
            "would list it again.",
        )
        return redirect("download", collection.pk)
    if request.method != "POST":
        return render(request, "run/delete.html", {"collection": collection, "run": run})
    previews = cache_names(run)
    try:
        delete_run(run)
        delete_cached(previews)
        messages.success(request, f"Deleted run {number} of “{collection}” and its files.")
    except RunIsBeingWritten as error:
        messages.error(request, str(error))
    return redirect("download", collection.pk)
