"""The list of the team's collections."""

from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.models.outages import outages
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.collections.order import ORDERS, page_of
from collections_app.views.collections.rows import CELLS, COLUMNS, Header, set_html, set_versions
from collections_app.views.collections.show import Show, choices, only, read_show, set_favorites
from collections_app.views.download.menu import preferred_format
from collections_app.views.fragments import render_fragment


@team_member(Action.SEE)
@require_safe
def collections(request: MemberRequest) -> HttpResponse:
    """Show the team's collections. htmx gets a part of the list.

    `q` searches the names, `archived` selects the archived ones, `show` the user's own, `sort` orders them,
    and `after` is the sort key of the last one before the page.
    """
    query = request.GET.get("q", "").replace("\0", "").strip()[:200]
    archived = "archived" in request.GET
    after = request.GET.get("after", "")
    show = read_show(request)
    found = request.membership.team.collections.select_related("owner__user")
    found = only(found.archived() if archived else found.current(), show, request)
    if query:
        found = found.named_like(query)
    order = request.GET.get("sort", "")
    order = order if order in ORDERS else "name"
    page = page_of(found, order, after)
    set_versions(page.collections)
    set_html(page.collections, preferred_format(request), CELLS)
    set_favorites(page.collections, request)

    def address(order: str = order, show: Show = show, after: str = "") -> str:
        return _address(query, order, show, archived=archived, after=after)

    context = {
        "collections": page.collections,
        "outages": outages(request.membership.team),
        "query": query,
        "archived": archived,
        "after": after,
        "order": order,
        "orders": ORDERS.items(),
        "show": show,
        "choices": choices(show, lambda each: address(show=each)),
        "headers": [Header(column, order, address(column.order)) for column in COLUMNS],
        "first_page": address(),
        "more": page.next_key and address(after=page.next_key),
    }
    fragment = "collections/_rows.html" if after else "collections/_results.html"
    return render_fragment(request, "collections/list.html", fragment, context)


def _address(query: str, order: str, show: Show, *, archived: bool, after: str = "") -> str:
    sort = "" if order == "name" else order
    parameters = {"q": query, "archived": "1" if archived else "", "sort": sort, "show": show, "after": after}
    given = urlencode({name: value for name, value in parameters.items() if value})
    return reverse("collections") + (f"?{given}" if given else "")
