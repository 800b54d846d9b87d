"""Set the currency of prices whose records name none."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.settings.forms import CurrencyForm
from collections_app.views.settings.page import settings_page


@collection_member(Action.MANAGE_COLLECTIONS)
@require_POST
def collection_currency(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Set or clear the currency. Only pages show it: files and exports stay unchanged."""
    form = CurrencyForm(request.POST)
    if not form.is_valid():
        return settings_page(request, collection, currency_form=form)
    collection.currency = form.cleaned_data["currency"]
    collection.save(update_fields=["currency"])
    messages.success(request, f"Saved the currency of “{collection}”.")
    return redirect("collection_settings", collection.pk)
