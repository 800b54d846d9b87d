"""Connect a MultiCartAPI account."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from collections_app.models import Account
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.forms import posted
from collections_app.views.team.account_checks import account_responds, is_still_valid, try_key
from collections_app.views.team.account_forms import AccountForm


@team_member(Action.MANAGE_ACCOUNTS)
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("key")
def account_connect(request: MemberRequest) -> HttpResponse:
    """Show the form. On POST, save the account if it accepts the key."""
    form = AccountForm(posted(request), instance=Account(team=request.membership.team))
    if form.is_valid() and account_responds(form, lambda: try_key(form)):
        with transaction.atomic():
            access.confirm(request, Action.MANAGE_ACCOUNTS)
            if is_still_valid(form):
                account = form.save()
                messages.success(request, f"Connected “{account}”. Now add its collections.")
                return redirect("accounts")
    return render(request, "team/connect_account.html", {"form": form})
