"""A single result file."""

from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.sources import deliverable
from collections_app.views.file_response import file_response


@collection_member(Action.SEE, is_file=True)
@require_safe
def result_file(request: MemberRequest, collection: Collection, number: int, name: str) -> HttpResponseBase:
    """Send a file of a completed run, which was looked up with the user's memberships."""
    return file_response(request, lambda: deliverable(request.requested.downloadable(number)))
