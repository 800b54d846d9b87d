"""A person's own page: their name, their API keys, and how a script gets results."""

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from django.contrib import messages
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from collections_app.models import ApiKey, FileKind, Run, State, Team
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest, signed_in, team_member
from collections_app.system.addresses import absolute, results_of
from collections_app.views.forms import KeyForm, ProfileForm, posted

KEY_PLACEHOLDER = "YOUR_API_KEY"

# Where an example with results is looked for: a team may have thousands of collections.
_COLLECTIONS_TRIED = 50

LIST_CALL = """\
curl {address} \\
  -X POST \\
  -H "x-api-key: {key}" \\
  -H "Content-Type: application/json" \\
  -d '{{ "collection_id": {collection_id}, "skip": 0, "limit": 5 }}'"""

FILE_CALL = """\
curl "{address}" \\
  -H "x-api-key: {key}" \\
  -o "{saved_as}\""""

PULL_CALL = """\
export MULTICART_API_KEY={key}
python pull.py {collection_id} --latest --verify --base-url {address}"""


@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: MemberRequest) -> HttpResponse:
    """Show the profile; POST changes the name."""
    form = ProfileForm(posted(request), instance=request.user)
    if form.is_valid():
        form.save()
        messages.success(request, "Saved your name.")
        return redirect("profile")
    return _show(request, profile_form=form)


@team_member(Action.SEE)
@require_POST
@never_cache
@sensitive_variables("text")
def key_create(request: MemberRequest) -> HttpResponse:
    """Make an API key, and show it in this one answer."""
    form = KeyForm(request.POST)
    if not form.is_valid():
        return _show(request, key_form=form)
    with transaction.atomic():
        access.confirm(request, Action.SEE)
        key, text = ApiKey.objects.issue(request.membership, form.cleaned_data["name"])
    return _show(request, new_key=key, key_shown=text, status=HTTPStatus.CREATED)


@team_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
def key_revoke(request: MemberRequest, key_id: int) -> HttpResponse:
    """Ask, and then revoke a key: one's own, or with REVOKE_ANY_KEY anyone's of the team."""
    keys = request.membership.api_keys.all()
    if access.may(request.membership, Action.REVOKE_ANY_KEY):
        keys = ApiKey.objects.filter(membership__team=request.membership.team)
    key = keys.filter(pk=key_id, revoked_at=None).select_related("membership__user").first()
    if key is None:
        raise Http404("There is no such key, or it isn't yours. It may have been revoked already.")
    back = "profile" if key.membership_id == request.membership.pk else "members"
    if request.method != "POST":
        return render(request, "profile/revoke_key.html", {"key": key, "back": back})
    key.revoke()
    messages.success(request, f"Revoked the key “{key.name}”. It opens nothing any more.")
    return redirect(back)


def _show(request: MemberRequest, *, status: int = HTTPStatus.OK, **context: object) -> HttpResponse:
    context = {
        "profile_form": ProfileForm(instance=request.user),
        "key_form": KeyForm(),
        "key_shown": KEY_PLACEHOLDER,
    } | context
    # Somebody who is in no team has a name and a password, but no keys.
    if request.memberships:
        context["keys"] = request.membership.api_keys.active()
        context["example"] = _example(request, request.membership.team, str(context["key_shown"]))
    return render(request, "profile/page.html", context, status=status)


@dataclass(frozen=True)
class Example:
    """The example calls, filled in: the API's two, and that of the client."""

    list_call: str
    pull_call: str
    file_call: str = ""


def _example(request: MemberRequest, team: Team, key: str) -> Example | None:
    """Return the calls for the team's first collection, for one with results where there is one."""
    ready = Run.objects.filter(collection=OuterRef("pk"), state=State.READY)
    collections = team.collections.filter(archived_at=None).order_by("pk")
    tried = collections.annotate(has_results=Exists(ready))[:_COLLECTIONS_TRIED]
    with_results = (each for each in tried if each.has_results)  # type: ignore[attr-defined]
    collection = next(with_results, None) or next(iter(tried), None)
    if collection is None:
        return None
    list_call = LIST_CALL.format(
        address=absolute(request, reverse("api:list_run_results")),
        key=key,
        collection_id=collection.pk,
    )
    pull_call = PULL_CALL.format(
        address=absolute(request, reverse("api:api-root")).rstrip("/"), key=key, collection_id=collection.pk
    )
    run = collection.runs.filter(state=State.READY).newest_first().first()
    file = run.files.with_records().first() if run else None
    if run is None or file is None:
        return Example(list_call, pull_call)
    saved_as = f"page_{file.position}.json" if file.kind == FileKind.PAGE else file.name
    # Everything but letters and digits is quoted: $ and ` mean something to a shell.
    address = f"{results_of(request, collection.pk)}/{run.number}/{quote(file.name, safe='')}"
    return Example(list_call, pull_call, FILE_CALL.format(address=address, key=key, saved_as=saved_as))
