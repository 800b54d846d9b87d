"""A permanent address for the newest completed run of a collection."""

from urllib.parse import quote

from django.http import HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.sources import latest_run
from collections_app.views.file_response import response_or_error


@collection_member(Action.SEE, is_file=True)
@require_safe
def latest(request: MemberRequest, collection: Collection, rest: str = "") -> HttpResponseBase:
    """Redirect `latest/<rest>` to `<rest>` of the newest completed run, with the query string."""
    return response_or_error(request, lambda: _redirect(request, collection, rest))


def _redirect(request: MemberRequest, collection: Collection, rest: str) -> HttpResponseRedirect:
    address = reverse("run", args=[collection.pk, latest_run(collection).number])
    query = request.META.get("QUERY_STRING", "")
    response = redirect(f"{address}{quote(rest)}{'?' if query else ''}{query}")
    # The next request may lead to a newer run.
    response["Cache-Control"] = "no-store"
    return response
