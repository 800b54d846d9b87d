"""Who may do what: the only place that decides.

Every view states who may call it, by one of the decorators here. A view that states nothing is
answered with 403 to everybody (DefaultDeny).
"""

import enum
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, cast
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect
from structlog.contextvars import bind_contextvars

from collections_app.models import ApiKey, Collection, Membership, Role, Team, User
from collections_app.system.vanished import retry_if_vanished

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails

# The same words whether or not the collection exists, so that ids tell nothing.
NOT_YOURS = "This collection doesn't exist, or it belongs to a team that you are not in."

_SESSION_TEAM = "team_id"


class Action(enum.StrEnum):
    """What a member of a team may be allowed to do."""

    SEE = "see"  # also download, and make and revoke one's own keys
    MANAGE_COLLECTIONS = "manage_collections"  # also delete a run
    MANAGE_ACCOUNTS = "manage_accounts"  # at MultiCartAPI: connect, give another key, disconnect
    REVOKE_ANY_KEY = "revoke_any_key"
    MANAGE_MEMBERS = "manage_members"


_MAY: dict[str, frozenset[Action]] = {
    Role.MEMBER: frozenset({Action.SEE}),
    Role.ADMIN: frozenset(Action),
    Role.OWNER: frozenset(Action),
}
_GIVES_ROLES: dict[str, list[Role]] = {
    Role.MEMBER: [],
    Role.ADMIN: [Role.MEMBER],
    Role.OWNER: [Role.MEMBER, Role.ADMIN, Role.OWNER],
}


class MemberRequest(HttpRequest):
    """A request of somebody signed in, with the team that it is about."""

    user: User
    htmx: "HtmxDetails"
    memberships: list[Membership]
    membership: Membership
    collection: Collection  # where the address names one


def may(membership: Membership, action: Action) -> bool:
    """Whether a member may do this in the team."""
    return action in _MAY[membership.role]


def assignable_roles(membership: Membership) -> list[Role]:
    """The roles that a member may give to others, and whose holders the member may remove."""
    return _GIVES_ROLES[membership.role]


def may_manage(membership: Membership, other: Membership) -> bool:
    """Whether a member may change the role of another one of the same team, or remove them."""
    return membership.team_id == other.team_id and other.role in assignable_roles(membership)


def may_add(memberships: list[Membership], user: User) -> bool:
    """Whether somebody with these memberships may bring an account into a team of theirs.

    Whoever made an account may know its password. So it comes into a further team only through
    somebody who may manage it in all of its teams; otherwise through an operator, like an operator's
    own account. Needs to be asked before the account joins the team.

    An account in no team may be added by anybody, also one that an operator made with a password: it
    opens nothing, and whether it was ever in a team, or in which, is not known. Its old password must
    not open the team that it comes into, so whoever adds it makes it forget that, and gets a link that
    sets a new one.
    """
    return not user.is_staff and all(
        any(may_manage(mine, theirs) for mine in memberships) for theirs in user.memberships.all()
    )


def may_reset_password(membership: Membership, other: Membership) -> bool:
    """Whether a member may make a password link for another one.

    Only for somebody who is in no other team and is no operator: the link opens the whole account.
    """
    return (
        may_manage(membership, other)
        and not other.user.is_staff
        # all(), so that a list of members can bring everybody's memberships in one query.
        and all(each.team_id == membership.team_id for each in other.user.memberships.all())
    )


def collection_of(memberships: Iterable[Membership], collection_id: int) -> tuple[Collection, Membership]:
    """Return the collection and the membership that opens it.

    Raises PermissionDenied, with the same words whether or not the collection exists.
    """
    bind_contextvars(collection=collection_id)
    by_team = {membership.team_id: membership for membership in memberships}
    collection = Collection.objects.filter(pk=collection_id, team__in=by_team).first()
    if collection is None:
        raise PermissionDenied(NOT_YOURS)
    membership = by_team[collection.team_id]
    bind_contextvars(team=membership.team_id)
    collection.team = membership.team
    return collection, membership


# --- what a view states -------------------------------------------------------------------------

View = Callable[..., HttpResponseBase]
Rule = Callable[[HttpRequest], HttpResponseBase | None]


def _allow(request: HttpRequest) -> None:
    return None


def _sign_in_first(request: HttpRequest) -> HttpResponseBase | None:
    if request.user.is_authenticated:
        return None
    htmx = cast(MemberRequest, request).htmx
    if htmx:
        # A fragment can't show the sign-in page, so the whole page goes there.
        return HttpResponseClientRedirect(redirect_to_login(_page_of(htmx) or "/").url)
    is_page = request.method in ("GET", "HEAD")
    return redirect_to_login(request.get_full_path() if is_page else _referring_page(request) or "/")


def _sign_in_for_a_file(request: HttpRequest) -> HttpResponseBase | None:
    if request.user.is_authenticated:
        return None
    # A file is no page to be on: the browser would save it and stay at the sign-in form.
    assert request.resolver_match
    runs = reverse("download", args=[request.resolver_match.kwargs["collection_id"]])
    return redirect_to_login(_referring_page(request) or runs)


def _referring_page(request: HttpRequest) -> str:
    """Return the path of the page that the request comes from, or "" where that is no page of ours."""
    referrer = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(referrer, {request.get_host()}):
        return ""
    path = urlsplit(referrer)._replace(scheme="", netloc="").geturl()
    return path if path.startswith("/") and url_has_allowed_host_and_scheme(path, None) else ""


def _page_of(htmx: "HtmxDetails") -> str | None:
    """Return the path of the page that a fragment is for, or None where that is no page of ours."""
    try:
        return htmx.current_url_abs_path
    except ValueError:
        return None  # "http://[" is no address at all.


def _operators_only(request: HttpRequest) -> HttpResponseBase | None:
    if request.user.is_authenticated and not (request.user.is_active and request.user.is_staff):
        raise PermissionDenied("These pages are for operators.")
    return _sign_in_first(request)


def _stating(rule: Rule, view: View) -> View:
    @wraps(view)
    def stated(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return retry_if_vanished(lambda: view(request, *args, **kwargs), lambda: _reload_memberships(request))

    stated.access_rule = rule  # type: ignore[attr-defined]
    return stated


def public(view: View) -> View:
    """Anybody may call this view."""
    return _stating(_allow, view)


def api_key(authenticate: Callable[[HttpRequest], ApiKey]) -> Callable[[View], View]:
    """Scripts with an API key may call this view, which gets the key that `authenticate` returns."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return view(request, authenticate(request), *args, **kwargs)

        return _stating(_allow, checked)

    return decorate


def signed_in(view: View) -> View:
    """Anybody who is signed in may call this view, also somebody who is in no team."""
    return _stating(_sign_in_first, view)


def team_member(
    action: Action,
) -> Callable[[Callable[Concatenate[Any, ...], HttpResponseBase]], View]:
    """Members of the current team who may do `action` may call this view; others get 403."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: MemberRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not getattr(request, "membership", None):
                raise PermissionDenied("You are not in a team yet. Ask a team's owner to add you.")
            _check(request.membership, action)
            return view(request, *args, **kwargs)

        return _stating(_sign_in_first, checked)

    return decorate


def collection_member(
    action: Action, *, is_file: bool = False
) -> Callable[[Callable[Concatenate[Any, ...], HttpResponseBase]], View]:
    """Members of the collection's team who may do `action` may call this view; others get 403.

    The view gets the collection in place of `collection_id`. A page makes the collection's team the
    current one; a file (`is_file`) doesn't, and signing in leads to the page that it is on.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: MemberRequest, collection_id: int, **kwargs: Any) -> HttpResponseBase:
            collection, membership = collection_of(request.memberships, collection_id)
            _check(membership, action)
            if not is_file and membership.team_id != request.membership.team_id:
                choose_team(request, membership.team_id)
            request.membership, request.collection = membership, collection
            return view(request, collection, **kwargs)

        return _stating(_sign_in_for_a_file if is_file else _sign_in_first, checked)

    return decorate


def _check(membership: Membership, action: Action) -> None:
    if not may(membership, action):
        raise PermissionDenied(
            f"You are signed in as a {membership.role} of {membership.team}; this needs an admin or an owner."
        )


def confirm(request: MemberRequest, action: Action) -> None:
    """Check once more, inside a transaction, and bring the memberships as they are by then.

    What a view acts on must not change in between: by the time it acts, the person may have been removed
    or given a lesser role. From here on nobody else changes who is in the team until the transaction
    ends. Raises PermissionDenied.
    """
    team = Team.objects.select_for_update().get(pk=request.membership.team_id)
    request.memberships = _memberships_of(request.user)
    membership = next((each for each in request.memberships if each.team_id == team.pk), None)
    if membership is None:
        raise PermissionDenied(f"You are not in {team} any more.")
    _check(membership, action)
    request.membership = membership


class DefaultDeny:
    """Middleware: applies what each view states, and refuses a view that states nothing.

    Gives a signed-in request its `memberships` and, where there is one, the current `membership`.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on; the decision falls in process_view."""
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Answer for the view where its rule says so."""
        rule: Rule | None = getattr(view, "access_rule", None)
        if rule is None and request.resolver_match and request.resolver_match.app_names == ["admin"]:
            rule = _operators_only
        if rule is None:
            raise PermissionDenied
        answer = rule(request)
        if answer is None and rule in (_sign_in_first, _sign_in_for_a_file):
            prefetch_memberships(request)
        return answer


def prefetch_memberships(request: HttpRequest) -> None:
    """Give a signed-in request its `memberships` and, where there is one, the current `membership`."""
    assert isinstance(request.user, User)
    memberships = _memberships_of(request.user)
    bind_contextvars(user=request.user.pk)
    chosen = request.session.get(_SESSION_TEAM)
    request.memberships = memberships  # type: ignore[attr-defined]
    if memberships:
        request.membership = next(  # type: ignore[attr-defined]
            (membership for membership in memberships if membership.team_id == chosen), memberships[0]
        )
        bind_contextvars(team=request.membership.team_id)  # type: ignore[attr-defined]


def _reload_memberships(request: HttpRequest) -> None:
    if hasattr(request, "memberships"):
        vars(request).pop("membership", None)
        prefetch_memberships(request)


def _memberships_of(user: User) -> list[Membership]:
    return list(user.memberships.select_related("team").order_by("team__name", "pk"))


def choose_team(request: MemberRequest, team_id: int) -> Team:
    """Make one of the person's teams the current one. Raises PermissionDenied for another team."""
    for membership in request.memberships:
        if membership.team_id == team_id:
            request.session[_SESSION_TEAM] = team_id
            return membership.team
    raise PermissionDenied("You are not in that team.")


def context(request: HttpRequest) -> dict[str, Any]:
    """What templates need to know: the current team, the person's teams, and what they may do."""
    membership: Membership | None = getattr(request, "membership", None)
    return {
        "membership": membership,
        "memberships": getattr(request, "memberships", []),
        # Known to be in none, unlike somebody whose memberships nobody has asked for.
        "in_no_team": getattr(request, "memberships", None) == [],
        "may": {action.value: may(membership, action) for action in Action} if membership else {},
    }
