"""Save which columns of a collection's records a user wants to see."""

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from collections_app.models import Collection, CollectionPreferences
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.columns import LONGEST_NAME, MOST_COLUMNS
from collections_app.views.run.query import RecordQuery, read_query


@collection_member(Action.SEE)
@require_POST
def run_columns(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Save each `column`, or the default with `reset`, and show the run's records in the same order."""
    query = read_query(request.POST)
    columns = [] if "reset" in request.POST else list(query.columns)
    if len(columns) > MOST_COLUMNS or any(len(name) > LONGEST_NAME or "\0" in name for name in columns):
        raise BadRequest(f"Choose at most {MOST_COLUMNS} columns of this run.")
    CollectionPreferences.objects.update_or_create(
        user=request.user, collection=collection, defaults={"columns": columns}
    )
    address = RecordQuery(query.table_query, ()).address()
    return redirect(f"{reverse('run', args=[collection.pk, number])}{address.removesuffix('?')}#records")
