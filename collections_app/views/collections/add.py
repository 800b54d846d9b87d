"""Add a collection whose runs are imported."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.collections.forms import AddForm, is_saved
from collections_app.views.forms import posted


@team_member(Action.MANAGE_COLLECTIONS)
@require_http_methods(["GET", "HEAD", "POST"])
def collection_add(request: MemberRequest) -> HttpResponse:
    """Show the form. On POST, add a collection to the current team."""
    form = AddForm(posted(request), instance=Collection(team=request.membership.team))
    if is_saved(request, form):
        messages.success(request, f"Added “{form.instance}”.")
        return redirect("download", form.instance.pk)
    return render(request, "collections/add.html", {"form": form})
