"""Whether the results of an account's collection are copied into our own storage by themselves."""

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member


@collection_member(Action.MANAGE_COLLECTIONS)
@require_POST
def keep(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Turn the copying on (`keep` is "on") or off; what was copied stays either way."""
    if not collection.is_remote:
        raise Http404("The runs of this collection don't come from an account.")
    collection.keeps_results = request.POST.get("keep") == "on"
    collection.save(update_fields=["keeps_results"])
    if collection.keeps_results:
        messages.success(
            request,
            f"The results of “{collection}” are being copied here and stay, whatever becomes of them at "
            "the account.",
        )
    else:
        messages.success(
            request, f"No further results of “{collection}” are copied here. Those that were stay."
        )
    return redirect("download", collection.pk)
