"""The list of the team's collections."""

from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.models import Collection
from collections_app.models.collections import CollectionQuerySet
from collections_app.models.runs import prefetch_latest_runs
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.collections.order import ORDERS, format_key, ordered
from collections_app.views.download.menu import latest_menu, preferred_format
from collections_app.views.fragments import render_fragment
from collections_app.views.page_size import PAGE_SIZE


@team_member(Action.SEE)
@require_safe
def collections(request: MemberRequest) -> HttpResponse:
    """Show the team's collections. htmx gets a part of the list.

    `q` searches the names, `archived` selects the archived ones, `sort` orders them, and `after` is the sort
    key of the last one before the page.
    """
    query = request.GET.get("q", "").replace("\0", "").strip()[:200]
    archived = "archived" in request.GET
    after = request.GET.get("after", "")
    found = request.membership.team.collections.all()
    found = found.archived() if archived else found.current()
    if query:
        found = found.named_like(query)
    order = request.GET.get("sort", "")
    order = order if order in ORDERS else "name"
    rows = with_latest_runs(ordered(found, order, after)[: PAGE_SIZE + 1])
    preferred = preferred_format(request)
    for row in rows:
        row.download_menu = latest_menu(row, preferred)
    context = {
        "collections": rows[:PAGE_SIZE],
        "query": query,
        "archived": archived,
        "after": after,
        "order": order,
        "orders": ORDERS.items(),
        "more": _next_address(rows, query, order, archived=archived),
    }
    fragment = "collections/_rows.html" if after else "collections/_results.html"
    return render_fragment(request, "collections/list.html", fragment, context)


def with_latest_runs(found: CollectionQuerySet) -> list[Collection]:
    """Return the collections with their `latest_run`, which may be None, in two queries.

    Their `latest` is a token that changes when the list shows that run differently, or the next one as late.
    """
    rows = list(found)
    prefetch_latest_runs(rows)
    for row in rows:
        run = row.latest_run
        late = "late." if row.is_late else ""
        row.latest = f"{run.number}.{late}{run.status}" if run else f"{late}none"
    return rows


def _next_address(rows: list[Collection], query: str, order: str, *, archived: bool) -> str:
    """Return the address of the next page, or "" on the last one."""
    if len(rows) <= PAGE_SIZE:
        return ""
    last = rows[PAGE_SIZE - 1]
    parameters = {"q": query} if query else {}
    if archived:
        parameters["archived"] = "1"
    if order != "name":
        parameters["sort"] = order
    return f"{reverse('collections')}?{urlencode(parameters | {'after': format_key(last, order)})}"
