"""Set who is responsible for a collection."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.settings.forms import OwnerForm
from collections_app.views.settings.page import settings_page


@collection_member(Action.MANAGE_COLLECTIONS)
@require_POST
@transaction.atomic
def collection_owner(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Set or clear the owner, a member of the team."""
    # Until the end of the transaction, no member leaves the team.
    list(collection.team.memberships.select_for_update().order_by("pk"))
    form = OwnerForm(request.POST, collection=collection)
    if not form.is_valid():
        return settings_page(request, collection, owner_form=form)
    collection.owner = form.cleaned_data["owner"]
    collection.save(update_fields=["owner"])
    if collection.owner:
        messages.success(request, f"{collection.owner.user.get_full_name()} now owns “{collection}”.")
    else:
        messages.success(request, f"“{collection}” no longer has an owner.")
    return redirect("collection_settings", collection.pk)
