"""The list of the team's MultiCartAPI accounts."""

from django.db.models import Count
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from collections_app.models import Account
from collections_app.models.outages import with_outages
from collections_app.people.access import Action, MemberRequest, team_member


@team_member(Action.MANAGE_ACCOUNTS)
@require_safe
def accounts(request: MemberRequest) -> HttpResponse:
    """Show the team's accounts."""
    found = with_outages(request.membership.team.accounts.annotate(collection_count=Count("collections")))
    return render(request, "team/accounts.html", {"accounts": found.order_by("name")})


def account_of_team(request: MemberRequest, account_id: int) -> Account:
    """Return an account of the current team. Raises Http404."""
    account = request.membership.team.accounts.filter(pk=account_id).first()
    if account is None:
        raise Http404("This team has no such account. It may have been removed.")
    return account
