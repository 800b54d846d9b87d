"""Acknowledge the problem of a collection."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from collections_app.models import Collection
from collections_app.models.conditions import NoProblem, acknowledge, withdraw_acknowledgment
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.settings.forms import AcknowledgeForm
from collections_app.views.settings.page import settings_page


@collection_member(Action.ACKNOWLEDGE)
@require_POST
def collection_acknowledge(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Acknowledge the problem. With `withdraw`, remove the acknowledgment."""
    if "withdraw" in request.POST:
        withdraw_acknowledgment(collection)
        messages.success(request, f"The problem of “{collection}” needs attention again.")
        return redirect("collection_settings", collection.pk)
    form = AcknowledgeForm(request.POST, time_zone=collection.team.time_zone)
    if not form.is_valid():
        return settings_page(request, collection, acknowledge_form=form)
    try:
        acknowledge(collection, by=request.user, **form.cleaned_data)
    except NoProblem as error:
        messages.info(request, str(error))
    else:
        messages.success(request, f"Acknowledged the problem of “{collection}”.")
    return redirect("collection_settings", collection.pk)
