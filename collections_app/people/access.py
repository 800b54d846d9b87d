"""Who may do what. No other module decides that.

Each view declares who may call it with one of the decorators here. A view without a declaration responds to
everyone with 403 (DefaultDeny).
"""

import enum
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, cast
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, resolve, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect
from structlog.contextvars import bind_contextvars

from collections_app.models import Collection, Membership, Preferences, Role, Team, Theme, User
from collections_app.models.lookup import NOTHING, Address, Requested, memberships_of
from collections_app.system.vanished import retry_if_vanished

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails

# The same sentence whether or not the collection exists, so that ids reveal nothing.
NOT_YOURS = "This collection doesn't exist, or it belongs to a team that you aren't in."

_SESSION_TEAM = "team_id"
_API = "/api/"


class Action(enum.StrEnum):
    """An action that a role may allow."""

    SEE = "see"  # also download, and create and revoke one's own API keys
    ACKNOWLEDGE = "acknowledge"  # the problem of a collection
    PIN_RUNS = "pin_runs"
    OVERRULE_VERDICTS = "overrule_verdicts"  # also correct the kinds of runs
    MANAGE_COLLECTIONS = "manage_collections"  # also delete runs, and choose how many are kept
    MANAGE_ACCOUNTS = "manage_accounts"  # at MultiCartAPI: connect, change the key, disconnect
    REVOKE_ANY_KEY = "revoke_any_key"
    MANAGE_CHANNELS = "manage_channels"  # and rules; every member manages their own email
    MANAGE_MEMBERS = "manage_members"
    MANAGE_TEAM = "manage_team"  # its name and time zone


_MAY: dict[str, frozenset[Action]] = {
    Role.MEMBER: frozenset({Action.SEE, Action.ACKNOWLEDGE, Action.PIN_RUNS, Action.OVERRULE_VERDICTS}),
    Role.ADMIN: frozenset(Action),
    Role.OWNER: frozenset(Action),
}
# The roles that a member may assign, and whose holders the member may remove.
_ASSIGNABLE: dict[str, list[Role]] = {
    Role.MEMBER: [],
    Role.ADMIN: [Role.MEMBER],
    Role.OWNER: [Role.MEMBER, Role.ADMIN, Role.OWNER],
}


class MemberRequest(HttpRequest):
    """A signed-in user's request, with the team that it is about."""

    user: User
    htmx: "HtmxDetails"
    memberships: list[Membership]
    membership: Membership
    requested: Requested  # what the address names, if it belongs to one of the teams
    collection: Collection  # if the address contains its id


def may(membership: Membership, action: Action) -> bool:
    """Whether a member may do this in the team."""
    return action in _MAY[membership.role]


def assignable_roles(membership: Membership) -> list[Role]:
    """Return the roles that a member may assign to others, and whose holders the member may remove."""
    return _ASSIGNABLE[membership.role]


def may_manage(membership: Membership, other: Membership) -> bool:
    """Whether a member may change the role of another member of the same team, or remove them."""
    return membership.team_id == other.team_id and other.role in assignable_roles(membership)


def can_manage(user: User) -> Q:
    """Return the condition for memberships whose roles may manage members, in the user's teams."""
    managers = [role for role, assignable in _ASSIGNABLE.items() if assignable]
    return Q(team__in=user.memberships.values("team"), role__in=managers)


def may_add(memberships: list[Membership], user: User) -> bool:
    """Whether a member with these memberships may add an existing user to one of their teams.

    Whoever created a user may know the user's password. So only members who may manage the user in all of the
    user's teams may add the user to another team; otherwise only an operator may. Only operators may add
    operators. Call this before the user joins the team.

    Anyone may add a user who is in no team, because that user has no access to anything yet. The
    user's old password must not open the new team, so the caller invalidates it and creates a password link.
    """
    return not user.is_staff and all(
        any(may_manage(mine, theirs) for mine in memberships) for theirs in user.memberships.all()
    )


def may_reset_password(membership: Membership, other: Membership) -> bool:
    """Whether a member may create a password link for another member.

    The link gives access to everything that the other member may do. So it can't be created for operators, or
    for members of other teams.
    """
    return (
        may_manage(membership, other)
        and not other.user.is_staff
        # all(), so that the list of members can prefetch the memberships.
        and all(each.team_id == membership.team_id for each in other.user.memberships.all())
    )


def collection_of(memberships: Iterable[Membership], collection_id: int) -> tuple[Collection, Membership]:
    """Return the collection and the membership that gives access to it.

    Raises PermissionDenied, with the same sentence whether or not the collection exists.
    """
    teams = [membership.team_id for membership in memberships]
    found = Collection.objects.filter(pk=collection_id, team__in=teams).first()
    collection, membership = check_collection(memberships, collection_id, found)
    collection.team = membership.team
    return collection, membership


def check_collection(
    memberships: Iterable[Membership], collection_id: int, found: Collection | None
) -> tuple[Collection, Membership]:
    """Return the collection that was found by its id, and the membership that gives access to it.

    Raises PermissionDenied, with the same sentence whether or not the collection exists.
    """
    bind_contextvars(collection=collection_id)
    by_team = {membership.team_id: membership for membership in memberships}
    if found is None or found.team_id not in by_team:
        raise PermissionDenied(NOT_YOURS)
    membership = by_team[found.team_id]
    bind_contextvars(team=membership.team_id)
    return found, membership


# --- what views declare -------------------------------------------------------------------------

View = Callable[..., HttpResponseBase]
Rule = Callable[[HttpRequest], HttpResponseBase | None]


def _allow(request: HttpRequest) -> None:
    return None


def _by_key(request: HttpRequest) -> None:
    """Allow the view to check the API key."""


def _sign_in_first(request: HttpRequest) -> HttpResponseBase | None:
    if request.user.is_authenticated:
        return None
    htmx = cast(MemberRequest, request).htmx
    if htmx:
        # A fragment can't show the sign-in page, so the browser leaves the page.
        return HttpResponseClientRedirect(redirect_to_login(_page_of(htmx) or "/").url)
    is_page = request.method in ("GET", "HEAD")
    return redirect_to_login(request.get_full_path() if is_page else referring_page(request) or "/")


def _sign_in_for_a_file(request: HttpRequest) -> HttpResponseBase | None:
    if request.user.is_authenticated:
        return None
    # After signing in, the browser would save the file and stay at the sign-in form, so return to a page.
    return redirect_to_login(referring_page(request) or _page_of_file(request))


def _page_of_file(request: HttpRequest) -> str:
    """Return the path of a page that links to a file: the collection's runs, or the Overview."""
    assert request.resolver_match
    collection_id = request.resolver_match.kwargs.get("collection_id")
    return reverse("home") if collection_id is None else reverse("download", args=[collection_id])


def referring_page(request: HttpRequest) -> str:
    """Return the path of the referring page, or "" if the page isn't ours."""
    referrer = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(referrer, {request.get_host()}):
        return ""
    path = urlsplit(referrer)._replace(scheme="", netloc="").geturl()
    return path if path.startswith("/") and url_has_allowed_host_and_scheme(path, None) else ""


def _page_of(htmx: "HtmxDetails") -> str | None:
    """Return the path of the page that requested a fragment, or None if the page isn't ours."""
    try:
        return htmx.current_url_abs_path
    except ValueError:
        return None  # an invalid URL, such as "http://["


def _operators_only(request: HttpRequest) -> HttpResponseBase | None:
    if request.user.is_authenticated and not (request.user.is_active and request.user.is_staff):
        raise PermissionDenied("Only operators may open these pages.")
    return _sign_in_first(request)


def _declaring(rule: Rule, view: View) -> View:
    @wraps(view)
    def declared(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return retry_if_vanished(lambda: view(request, *args, **kwargs), lambda: _reload_memberships(request))

    declared.access_rule = rule  # type: ignore[attr-defined]
    return declared


def public(view: View) -> View:
    """Let anyone call this view."""
    return _declaring(_allow, view)


def api_key(authenticate: Callable[..., Any]) -> Callable[[View], View]:
    """Let scripts with an API key call this view, which receives what `authenticate` returns."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            return view(request, authenticate(request, **kwargs), **kwargs)

        return _declaring(_by_key, checked)

    return decorate


def signed_in(view: View) -> View:
    """Let signed-in users call this view, including those who aren't in a team."""
    return _declaring(_sign_in_first, view)


def operator(view: View) -> View:
    """Let operators call this view. Others get a 403."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _operators_only(request)
        return view(request, *args, **kwargs)

    return _declaring(_sign_in_first, checked)


def team_member(
    action: Action, *, is_file: bool = False
) -> Callable[[Callable[Concatenate[Any, ...], HttpResponseBase]], View]:
    """Let members of the current team who may do `action` call this view. Others get a 403.

    Signing in for a file (`is_file`) leads to the page that links to it.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: MemberRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not getattr(request, "membership", None):
                raise PermissionDenied("You aren't in a team yet. Ask a team's owner to add you.")
            _choose_team_of_form(request)
            _check(request.membership, action)
            return view(request, *args, **kwargs)

        return _declaring(_sign_in_for_a_file if is_file else _sign_in_first, checked)

    return decorate


def collection_member(
    action: Action, *, is_file: bool = False
) -> Callable[[Callable[Concatenate[Any, ...], HttpResponseBase]], View]:
    """Let members of the collection's team who may do `action` call this view. Others get a 403.

    The view receives the collection instead of `collection_id`. A page makes the collection's team the
    current one. A file (`is_file`) doesn't, and signing in leads to the page that links to it.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: MemberRequest, collection_id: int, **kwargs: Any) -> HttpResponseBase:
            found = request.requested.collection
            collection, membership = check_collection(request.memberships, collection_id, found)
            _check(membership, action)
            if not is_file and membership.team_id != request.membership.team_id:
                choose_team(request, str(membership.team_id))
            request.membership, request.collection = membership, collection
            return view(request, collection, **kwargs)

        return _declaring(_sign_in_for_a_file if is_file else _sign_in_first, checked)

    return decorate


def _check(membership: Membership, action: Action) -> None:
    if not may(membership, action):
        raise PermissionDenied(
            f"Only admins and owners of {membership.team} may do this. Your role is {membership.role}."
        )


def confirm(request: MemberRequest, action: Action) -> None:
    """Check the user's role again inside a transaction, and lock the team's memberships until it ends.

    Since the first check, the user may have been removed or have lost the role. Raises PermissionDenied.
    """
    team = Team.objects.select_for_update().get(pk=request.membership.team_id)
    request.memberships, _ = memberships_of(request.user)
    membership = next((each for each in request.memberships if each.team_id == team.pk), None)
    if membership is None:
        raise PermissionDenied(f"You are no longer in {team}.")
    _check(membership, action)
    request.membership = membership


def serve_scripts(get_response: Callable[[HttpRequest], HttpResponseBase]) -> View:
    """Return middleware that calls views for API keys directly, skipping the middleware after it.

    The skipped middleware is for people: sessions, forms and messages. It takes as long as a small download.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        match = _match_of_script(request.path_info)
        if match is None:
            return get_response(request)
        request.resolver_match = match
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        return response

    return middleware


def _match_of_script(path: str) -> ResolverMatch | None:
    """Return the view at this path of the API, or None if it isn't declared with `api_key`."""
    if not path.startswith(_API):
        return None
    match = resolve(path)
    return match if getattr(match.func, "access_rule", None) is _by_key else None


class DefaultDeny:
    """Middleware that applies each view's declaration, and responds with 403 for a view without one.

    Sets `memberships` and `requested` on a signed-in request and, if the user is in a team, the current
    `membership`.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on. process_view() decides."""
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Return the response of the view's rule, or None to call the view."""
        rule: Rule | None = getattr(view, "access_rule", None)
        if rule is None and request.resolver_match and request.resolver_match.app_names == ["admin"]:
            rule = _operators_only
        if rule is None:
            raise PermissionDenied
        response = rule(request)
        if response is None and rule in (_sign_in_first, _sign_in_for_a_file):
            prefetch_memberships(request)
        return response


def prefetch_memberships(request: HttpRequest) -> None:
    """Set `memberships` and `requested`, and the current `membership` if the user is in a team."""
    assert isinstance(request.user, User)
    memberships, requested = memberships_of(request.user, _address(request))
    bind_contextvars(user=request.user.pk)
    chosen = request.session.get(_SESSION_TEAM)
    request.memberships, request.requested = memberships, requested  # type: ignore[attr-defined]
    if memberships:
        request.membership = next(  # type: ignore[attr-defined]
            (membership for membership in memberships if membership.team_id == chosen), memberships[0]
        )
        bind_contextvars(team=request.membership.team_id)  # type: ignore[attr-defined]


def _address(request: HttpRequest) -> Address:
    named = request.resolver_match.kwargs if request.resolver_match else {}
    if "collection_id" not in named:
        return NOTHING
    number = named.get("number") if "name" in named else None  # only a file's address is looked up entirely
    return Address(named["collection_id"], number, named.get("name"))


def _reload_memberships(request: HttpRequest) -> None:
    if hasattr(request, "memberships"):
        vars(request).pop("membership", None)
        prefetch_memberships(request)


def choose_team(request: MemberRequest, team_id: str) -> None:
    """Make one of the user's teams the current one. Raises PermissionDenied for other teams."""
    membership = next((each for each in request.memberships if str(each.team_id) == team_id), None)
    if membership is None:
        raise PermissionDenied("You aren't in that team.")
    request.membership = membership
    request.session[_SESSION_TEAM] = membership.team_id
    bind_contextvars(team=membership.team_id)


def _choose_team_of_form(request: MemberRequest) -> None:
    """Choose the team for which the posted form was shown, as _form_team.html says.

    Since then, the user may have switched teams in another tab. Raises PermissionDenied.
    """
    team_id = request.POST.get("for_team", "")
    if team_id and team_id != str(request.membership.team_id):
        choose_team(request, team_id)


def context(request: HttpRequest) -> dict[str, Any]:
    """Return template variables: the current team, the user's teams, what the user may do, and the theme."""
    membership: Membership | None = getattr(request, "membership", None)
    return {
        "membership": membership,
        "memberships": getattr(request, "memberships", []),
        # False if the memberships weren't loaded.
        "in_no_team": getattr(request, "memberships", None) == [],
        "may": {action.value: may(membership, action) for action in Action} if membership else {},
        "theme": _theme(request),
    }


def _theme(request: HttpRequest) -> str:
    """Return the user's theme. Error pages may have no database to read it from."""
    if not hasattr(request, "memberships"):
        return Theme.SYSTEM
    assert isinstance(request.user, User)
    return Preferences.of(request.user).theme
