"""A result file, to a person who is signed in."""

from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from collections_app.models import Collection, ResultFile
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.sources import deliverable
from collections_app.views.file_response import delivered


@collection_member(Action.SEE, is_file=True)
@require_safe
def result_file(request: MemberRequest, collection: Collection, number: int, name: str) -> HttpResponseBase:
    """Deliver a ready run's file."""
    return delivered(request, lambda: deliverable(ResultFile.objects.downloadable(collection, number, name)))
