"""Correct the type of a collection."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.settings.forms import TypeForm
from collections_app.views.settings.page import settings_page


@collection_member(Action.MANAGE_COLLECTIONS)
@require_POST
def collection_type(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Save the type. The runs of an account are listed again."""
    with transaction.atomic():
        # A run that is being written at the same time may fit only one of the types.
        locked = Collection.objects.select_for_update().get(pk=collection.pk)
        form = TypeForm(request.POST, collection=locked)
        if form.is_valid():
            locked.kind, locked.refresh_tried_at = form.cleaned_data["type"], None
            locked.save(update_fields=["kind", "refresh_tried_at"])
            messages.success(request, f"Saved the type of “{collection}”.")
            return redirect("collection_settings", collection.pk)
    return settings_page(request, collection, type_form=form)
