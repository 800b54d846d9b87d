"""Disconnect an account."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.team.accounts import account_of_team


@team_member(Action.MANAGE_ACCOUNTS)
@require_http_methods(["GET", "HEAD", "POST"])
@transaction.atomic
def account_disconnect(request: MemberRequest, account_id: int) -> HttpResponse:
    """Ask for confirmation. On POST, delete the key, and the account too if it has no collections."""
    access.confirm(request, Action.MANAGE_ACCOUNTS)
    account = account_of_team(request, account_id)
    count = account.collections.count()
    if request.method != "POST":
        return render(request, "team/disconnect_account.html", {"account": account, "count": count})
    if count:
        account.set_key("")
        account.save(update_fields=["encrypted_key", "key_ending"])
        messages.success(request, f"Disconnected “{account}” and deleted its key. Its collections are kept.")
    else:
        account.delete()
        messages.success(request, f"Removed “{account}” and its key.")
    return redirect("accounts")
