"""The team's accounts at MultiCartAPI: connecting, another key, disconnecting, and their collections."""

from collections.abc import Callable

from django.contrib import messages
from django.db import transaction
from django.db.models import Count
from django.forms import ModelForm
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from collections_app.models import Account, Collection, NotConnected
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.sources import ResultNotFound, SourceUnavailable, upstream
from collections_app.views.forms import posted
from collections_app.views.team.account_forms import AccountForm, CollectionOfAccountForm

SECONDS_TO_TRY = 5.0


@team_member(Action.MANAGE_ACCOUNTS)
@require_safe
def accounts(request: MemberRequest) -> HttpResponse:
    """Show the team's accounts."""
    found = request.membership.team.accounts.annotate(collection_count=Count("collections"))
    return render(request, "team/accounts.html", {"accounts": found.order_by("name")})


@team_member(Action.MANAGE_ACCOUNTS)
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("key")
def account_connect(request: MemberRequest) -> HttpResponse:
    """Connect an account, once it has answered."""
    form = AccountForm(posted(request), instance=Account(team=request.membership.team))
    if form.is_valid() and _answers(form, lambda: _try_key(form)):
        with transaction.atomic():
            access.confirm(request, Action.MANAGE_ACCOUNTS)
            if _is_still_valid(form):
                account = form.save()
                messages.success(
                    request, f"Connected “{account}”. Now add the collections that you want here."
                )
                return redirect("accounts")
    return render(request, "team/connect_account.html", {"form": form})


@team_member(Action.MANAGE_ACCOUNTS)
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("key")
def account_change(request: MemberRequest, account_id: int) -> HttpResponse:
    """Give an account another name or, once it has answered, another key and address."""
    account = _account(request, account_id)
    form = AccountForm(posted(request), instance=_account(request, account_id))
    if form.is_valid() and (not form.cleaned_data["key"] or _answers(form, lambda: _try_key(form))):
        with transaction.atomic():
            access.confirm(request, Action.MANAGE_ACCOUNTS)
            _account(request, account_id)
            if _is_still_valid(form):
                saved = form.save()
                # What was wrong with the old key says nothing of this one: the account is asked at once.
                saved.collections.update(refresh_tried_at=None, retry_at=None, refresh_problem="")
                messages.success(request, f"Saved the account “{saved}”.")
                return redirect("accounts")
    return render(request, "team/change_account.html", {"form": form, "account": account})


@team_member(Action.MANAGE_ACCOUNTS)
@require_http_methods(["GET", "HEAD", "POST"])
@transaction.atomic
def account_disconnect(request: MemberRequest, account_id: int) -> HttpResponse:
    """Ask, and then forget the key; an account without collections is removed altogether."""
    access.confirm(request, Action.MANAGE_ACCOUNTS)
    account = _account(request, account_id)
    count = account.collections.count()
    if request.method != "POST":
        return render(request, "team/disconnect_account.html", {"account": account, "count": count})
    if count:
        account.set_key("")
        account.save(update_fields=["encrypted_key", "key_ending"])
        messages.success(request, f"Disconnected “{account}”. Its key is deleted, its collections stay.")
    else:
        account.delete()
        messages.success(request, f"Removed “{account}” and its key.")
    return redirect("accounts")


@team_member(Action.MANAGE_COLLECTIONS)
@require_http_methods(["GET", "HEAD", "POST"])
def collection_connect(request: MemberRequest) -> HttpResponse:
    """Add a collection of an account's, once the account has listed a run of it; `account` preselects one."""
    team = request.membership.team
    form = CollectionOfAccountForm(
        posted(request),
        instance=Collection(team=team),
        initial={"account": request.GET.get("account")},
    )
    if form.is_valid() and _answers(form, lambda: _try_collection(form.instance)):
        with transaction.atomic():
            access.confirm(request, Action.MANAGE_COLLECTIONS)
            if _is_still_valid(form):
                collection = form.save()
                messages.success(request, f"Added “{collection}” from “{collection.account}”.")
                return redirect("download", collection.pk)
    has_accounts = team.accounts.exists()
    return render(request, "collections/connect.html", {"form": form, "has_accounts": has_accounts})


def _account(request: MemberRequest, account_id: int) -> Account:
    """Return an account of the current team. Raises Http404."""
    account = request.membership.team.accounts.filter(pk=account_id).first()
    if account is None:
        raise Http404("There is no such account in this team. It may have been removed already.")
    return account


def _answers(form: ModelForm, ask: Callable[[], object]) -> bool:  # type: ignore[type-arg]  # as in forms.py
    """Whether the account answers; where it doesn't, the form says why.

    Asked outside a transaction: nobody should wait for a server of somebody else's.
    """
    try:
        ask()
    except (NotConnected, ResultNotFound, SourceUnavailable) as error:
        form.add_error(None, str(error))
        return False
    return True


@sensitive_variables("key")
def _try_key(form: AccountForm) -> None:
    base_url, key = form.cleaned_data["base_url"], form.cleaned_data["key"]
    upstream.try_key(base_url, key, seconds=SECONDS_TO_TRY)


def _try_collection(collection: Collection) -> None:
    upstream.try_collection(collection, seconds=SECONDS_TO_TRY)


def _is_still_valid(form: ModelForm) -> bool:  # type: ignore[type-arg]  # as in forms.py
    """Check the form once more, inside a transaction: things may have changed while the account answered."""
    form.full_clean()
    return form.is_valid()
