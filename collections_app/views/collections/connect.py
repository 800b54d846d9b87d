"""Add a collection of a MultiCartAPI account."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.models import Collection
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.collections.forms import ConnectForm
from collections_app.views.forms import posted
from collections_app.views.team.account_checks import account_responds, is_still_valid, try_collection


@team_member(Action.MANAGE_COLLECTIONS)
@require_http_methods(["GET", "HEAD", "POST"])
def collection_connect(request: MemberRequest) -> HttpResponse:
    """Show the form, with `account` selected. On POST, add the collection if the account lists its runs."""
    team = request.membership.team
    form = ConnectForm(
        posted(request),
        instance=Collection(team=team),
        initial={"account": request.GET.get("account")},
    )
    if form.is_valid() and account_responds(form, lambda: try_collection(form.instance)):
        with transaction.atomic():
            access.confirm(request, Action.MANAGE_COLLECTIONS)
            if is_still_valid(form):
                collection = form.save()
                messages.success(request, f"Added “{collection}” from “{collection.account}”.")
                return redirect("download", collection.pk)
    has_accounts = team.accounts.exists()
    return render(request, "collections/connect.html", {"form": form, "has_accounts": has_accounts})
