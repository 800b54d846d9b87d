"""Rename a collection."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.collections.forms import RenameForm, is_saved
from collections_app.views.forms import posted


@collection_member(Action.MANAGE_COLLECTIONS)
@require_http_methods(["GET", "HEAD", "POST"])
def collection_rename(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Show the form. On POST, rename the collection."""
    old_name = collection.name
    form = RenameForm(posted(request), instance=collection)
    if is_saved(request, form):
        messages.success(request, f"Renamed “{old_name}” to “{collection}”.")
        return redirect("collections")
    return render(request, "collections/rename.html", {"form": form, "old_name": old_name})
