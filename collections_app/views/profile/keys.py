"""Create and revoke API keys."""

from http import HTTPStatus

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from collections_app.models import ApiKey
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.profile.forms import KeyForm
from collections_app.views.profile.page import render_profile


@team_member(Action.SEE)
@require_POST
@never_cache
@sensitive_variables("text")
def key_create(request: MemberRequest) -> HttpResponse:
    """Create an API key. Only this response shows it."""
    form = KeyForm(request.POST)
    if not form.is_valid():
        return render_profile(request, key_form=form)
    with transaction.atomic():
        access.confirm(request, Action.SEE)
        key, text = ApiKey.objects.issue(request.membership, form.cleaned_data["name"])
    return render_profile(request, new_key=key, key_shown=text, status=HTTPStatus.CREATED)


@team_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
def key_revoke(request: MemberRequest, key_id: int) -> HttpResponse:
    """Ask for confirmation. On POST, revoke the key, which may be another member's with REVOKE_ANY_KEY."""
    keys = request.membership.api_keys.all()
    if access.may(request.membership, Action.REVOKE_ANY_KEY):
        keys = ApiKey.objects.filter(membership__team=request.membership.team)
    key = keys.filter(pk=key_id, revoked_at=None).select_related("membership__user").first()
    if key is None:
        raise Http404("Key not found. It may have been revoked, or it belongs to someone else.")
    back = "profile" if key.membership_id == request.membership.pk else "members"
    if request.method != "POST":
        return render(request, "profile/revoke_key.html", {"key": key, "back": back})
    key.revoke()
    messages.success(request, f"Revoked the key “{key.name}”. Scripts can no longer use it.")
    return redirect(back)
