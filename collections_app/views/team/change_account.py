"""Rename an account, or replace its key and address."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.forms import posted
from collections_app.views.team.account_checks import account_responds, is_still_valid, try_key
from collections_app.views.team.account_forms import AccountForm
from collections_app.views.team.accounts import account_of_team


@team_member(Action.MANAGE_ACCOUNTS)
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("key")
def account_change(request: MemberRequest, account_id: int) -> HttpResponse:
    """Show the form. On POST, save the name and, if the account accepts it, the new key."""
    account = account_of_team(request, account_id)
    form = AccountForm(posted(request), instance=account_of_team(request, account_id))
    if form.is_valid() and (not form.cleaned_data["key"] or account_responds(form, lambda: try_key(form))):
        with transaction.atomic():
            access.confirm(request, Action.MANAGE_ACCOUNTS)
            account_of_team(request, account_id)
            if is_still_valid(form):
                saved = form.save()
                # Problems with the old key no longer apply, so list the account again immediately.
                saved.collections.update(
                    refresh_tried_at=None, retry_at=None, refresh_problem="", failing_since=None
                )
                messages.success(request, f"Saved the account “{saved}”.")
                return redirect("accounts")
    return render(request, "team/change_account.html", {"form": form, "account": account})
