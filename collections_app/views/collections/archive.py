"""Archive and restore a collection."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from collections_app.models import Collection
from collections_app.models.expectations import restore
from collections_app.people.access import Action, MemberRequest, collection_member


@collection_member(Action.MANAGE_COLLECTIONS)
@require_http_methods(["GET", "HEAD", "POST"])
def collection_archive(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Ask for confirmation. On POST, archive the collection."""
    if request.method != "POST":
        return render(request, "collections/archive.html", {"collection": collection})
    collection.archive()
    messages.success(
        request, f"Archived “{collection}”. Its runs and files are kept, and you can restore it at any time."
    )
    return redirect("collections")


@collection_member(Action.MANAGE_COLLECTIONS)
@require_POST
def collection_restore(request: MemberRequest, collection: Collection) -> HttpResponseRedirect:
    """Restore an archived collection."""
    restore(collection)
    messages.success(request, f"Restored “{collection}”.")
    return redirect("collections")
