"""Add collections of a MultiCartAPI account."""

import time
from collections.abc import Mapping

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import get_text_list
from django.views.decorators.http import require_http_methods

from collections_app.models import Collection, Kind, NotConnected
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.sources import ResultNotFound, SourceBusy, SourceTimeout, SourceUnavailable
from collections_app.sources.upstream import discovery
from collections_app.sources.upstream.discovery import Discovered
from collections_app.views.collections.forms import ConnectForm
from collections_app.views.forms import free_name, posted
from collections_app.views.team.account_checks import SECONDS_TO_TRY, is_still_valid

# How long to ask an account about all collections.
_SECONDS = 20.0


@team_member(Action.MANAGE_COLLECTIONS)
@require_http_methods(["GET", "HEAD", "POST"])
def collection_connect(request: MemberRequest) -> HttpResponse:
    """Show the form, with `account` selected. On POST, add collections that the account lists."""
    team = request.membership.team
    form = ConnectForm(
        posted(request),
        instance=Collection(team=team),
        initial={"account": request.GET.get("account")},
    )
    if form.is_valid() and (discovered := _discover(form)):
        with transaction.atomic():
            access.confirm(request, Action.MANAGE_COLLECTIONS)
            if is_still_valid(form):
                return _added(request, _add(form, discovered))
    has_accounts = team.accounts.exists()
    return render(request, "collections/connect.html", {"form": form, "has_accounts": has_accounts})


def _discover(form: ConnectForm) -> dict[int, Discovered]:
    """Return what the account's runs reveal about each collection, by ID, or {} and add errors to the form.

    Use it outside a transaction, so that nothing waits for someone else's server.
    """
    ids = form.cleaned_data["remote_ids"]
    until = time.monotonic() + _SECONDS
    discovered: dict[int, Discovered] = {}
    for remote_id in ids:
        try:
            discovered[remote_id] = _discover_one(form, remote_id, until)
        except (NotConnected, ResultNotFound, SourceUnavailable) as problem:
            form.add_error(None, f"{remote_id}: {problem}" if len(ids) > 1 else str(problem))
            if isinstance(problem, NotConnected | SourceBusy | SourceTimeout):
                break  # the other requests would fail, too
    return discovered if form.is_valid() else {}


def _discover_one(form: ConnectForm, remote_id: int, until: float) -> Discovered:
    left = until - time.monotonic()
    if left <= 0:
        raise SourceTimeout("The account took too long to list these collections. Enter fewer IDs at once.")
    kind = Kind(form.cleaned_data["kind"]) if form.cleaned_data["kind"] else None
    account = form.cleaned_data["account"]
    return discovery.discover(account, remote_id, kind=kind, seconds=min(left, SECONDS_TO_TRY))


def _add(form: ConnectForm, discovered: Mapping[int, Discovered]) -> list[Collection]:
    """Save the collections of the form, with unique names."""
    account, name = form.cleaned_data["account"], form.cleaned_data["name"]
    taken = [*account.team.collections.values_list("name", flat=True)]
    added = []
    for remote_id, found in discovered.items():
        collection = Collection(team=account.team, account=account, remote_id=remote_id, kind=found.kind)
        collection.name = name or free_name(_valid_name(found.name) or f"Collection {remote_id}", taken)
        collection.save()
        taken.append(collection.name)
        added.append(collection)
    return added


def _valid_name(name: str) -> str:
    """Return the name, or "" if collections can't have it."""
    try:
        return str(Collection._meta.get_field("name").clean(name, None))
    except ValidationError:
        return ""


def _added(request: MemberRequest, collections: list[Collection]) -> HttpResponse:
    """Redirect to the new collection, or to the list if there are several."""
    first, *others = collections
    if not others:
        messages.success(request, f"Added “{first}” from “{first.account}”.")
        return redirect("download", first.pk)
    names = get_text_list([f"“{each}”" for each in collections], "and")
    messages.success(request, f"Added {len(collections)} collections from “{first.account}”: {names}.")
    return redirect("collections")
