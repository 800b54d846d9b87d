"""Add collections to the user's favorites, and remove them."""

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from collections_app.models import CollectionPreferences
from collections_app.people.access import Action, MemberRequest, collection_of, referring_page, team_member
from collections_app.views.forms import is_id
from collections_app.views.fragments import wants_fragment


@team_member(Action.SEE)
@require_POST
def collection_favorites(request: MemberRequest) -> HttpResponse:
    """Add the collection with the id `add`, or remove the one with the id `remove`. htmx gets its button."""
    is_favorite = "add" in request.POST
    text = request.POST.get("add" if is_favorite else "remove", "")
    if not is_id(text):
        raise BadRequest("Add or remove a collection by its ID.")
    collection, _ = collection_of(request.memberships, int(text))
    CollectionPreferences.objects.update_or_create(
        user=request.user, collection=collection, defaults={"is_favorite": is_favorite}
    )
    collection.is_favorite = is_favorite
    if wants_fragment(request):
        return render(request, "collections/_favorite.html", {"collection": collection})
    return redirect(referring_page(request) or "collections")
