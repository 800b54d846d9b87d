"""Keep all runs that would be deleted."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.views.decorators.http import require_POST

from collections_app.models import Collection
from collections_app.models.retention import keep_leaving
from collections_app.people.access import Action, MemberRequest, collection_member


@collection_member(Action.PIN_RUNS)
@require_POST
def pin_leaving(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Pin the runs that have a time of deletion."""
    pinned = keep_leaving(collection, by=request.user)
    if pinned:
        messages.success(
            request, f"Pinned {pinned:,} run{pluralize(pinned)}. Pinned runs are never deleted automatically."
        )
    else:
        messages.info(request, "No runs were about to be deleted.")
    return redirect("download", collection.pk)
