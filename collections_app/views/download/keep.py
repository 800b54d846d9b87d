"""Switch the copying of an account's results to our storage on or off."""

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member


@collection_member(Action.MANAGE_COLLECTIONS)
@require_POST
def keep(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Start copying if `keep` is "on", otherwise stop. Existing copies are kept either way."""
    if not collection.is_remote:
        raise Http404("This collection isn't connected to an account.")
    collection.keeps_results = request.POST.get("keep") == "on"
    collection.save(update_fields=["keeps_results"])
    if collection.keeps_results:
        messages.success(
            request,
            f"Copying the results of “{collection}”. If the account deletes its files, the copies are kept.",
        )
    else:
        messages.success(request, f"Stopped copying results of “{collection}”. Existing copies are kept.")
    return redirect("download", collection.pk)
