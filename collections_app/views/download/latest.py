"""The newest completed run of a collection, at an address that stays the same."""

from urllib.parse import quote

from django.http import HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.sources import latest_run
from collections_app.views.file_response import answered


@collection_member(Action.SEE, is_file=True)
@require_safe
def latest(request: MemberRequest, collection: Collection, rest: str = "") -> HttpResponseBase:
    """Lead from `latest/<rest>` to the same place of the newest completed run, with the query."""
    return answered(request, lambda: _run_address(request, collection, rest))


def _run_address(request: MemberRequest, collection: Collection, rest: str) -> HttpResponseRedirect:
    address = reverse("run", args=[collection.pk, latest_run(collection).number])
    query = request.META.get("QUERY_STRING", "")
    answer = redirect(f"{address}{quote(rest)}{'?' if query else ''}{query}")
    # Another run may be the newest one at any moment.
    answer["Cache-Control"] = "no-store"
    return answer
