"""Pause and resume a collection."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from collections_app.models import Collection
from collections_app.models.expectations import pause, resume
from collections_app.people.access import Action, MemberRequest, collection_member


@collection_member(Action.MANAGE_COLLECTIONS)
@require_POST
def collection_pause(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Pause the collection if `pause` is "on", otherwise resume it."""
    if request.POST.get("pause") == "on":
        pause(collection, by=request.user)
        messages.success(request, f"Paused “{collection}”. Missed and failed runs don't need attention.")
    else:
        resume(collection)
        messages.success(request, f"Resumed “{collection}”.")
    return redirect("collection_settings", collection.pk)
