"""The team's collections: the list, and adding, renaming, archiving, restoring."""

from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import OuterRef, Subquery
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from collections_app.models import Collection, Run
from collections_app.models.collections import CollectionQuerySet
from collections_app.people.access import Action, MemberRequest, collection_member, signed_in, team_member
from collections_app.views.collections.order import ORDERS, ordered, place_of
from collections_app.views.forms import CollectionForm, RenameForm, posted

COLLECTIONS_SHOWN = 50


@signed_in
@require_safe
def home(request: MemberRequest) -> HttpResponseRedirect:
    """Lead to the collections; an operator in no team to the admin, anybody else in none to their profile."""
    if request.memberships:
        return redirect("collections")
    return redirect("admin:index" if request.user.is_staff else "profile")


@team_member(Action.SEE)
@require_safe
def collections(request: MemberRequest) -> HttpResponse:
    """Show the team's collections, by name or as `sort` says.

    `q` searches, `archived` shows the archived ones, `after` goes on after a place in the list.
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
    rows = with_latest_runs(ordered(found, order, after)[: COLLECTIONS_SHOWN + 1])
    context = {
        "collections": rows[:COLLECTIONS_SHOWN],
        "query": query,
        "archived": archived,
        "after": after,
        "order": order,
        "orders": ORDERS.items(),
        "more": _address_after(rows, query, order, archived=archived),
    }
    response = render(request, _template(request, after), context)
    # A fragment and the whole page share an address.
    patch_vary_headers(response, ["HX-Request"])
    return response


def _template(request: MemberRequest, after: str) -> str:
    if not request.htmx or request.htmx.history_restore_request:
        return "collections/list.html"
    return "collections/_rows.html" if after else "collections/_found.html"


def with_latest_runs(found: CollectionQuerySet) -> list[Collection]:
    """Return the collections, each with its `latest_run` or None, in two queries.

    `latest` is what is another whenever the list says something else of that run.
    """
    newest = Run.objects.filter(collection=OuterRef("pk")).newest_first()
    rows = list(found.annotate(latest_run_id=Subquery(newest.values("pk")[:1])))
    runs = Run.objects.in_bulk([row.latest_run_id for row in rows])  # type: ignore[attr-defined]
    for row in rows:
        run = runs.get(row.latest_run_id)  # type: ignore[attr-defined]
        row.latest_run = run
        row.latest = f"{run.number}.{run.state}" if run else "none"
    return rows


def _address_after(rows: list[Collection], query: str, order: str, *, archived: bool) -> str:
    """Return the address of the rows beyond those shown, or "" where there are none."""
    if len(rows) <= COLLECTIONS_SHOWN:
        return ""
    last = rows[COLLECTIONS_SHOWN - 1]
    asked = {"q": query} if query else {}
    if archived:
        asked["archived"] = "1"
    if order != "name":
        asked["sort"] = order
    return f"{reverse('collections')}?{urlencode(asked | {'after': place_of(last, order)})}"


@team_member(Action.MANAGE_COLLECTIONS)
@require_http_methods(["GET", "HEAD", "POST"])
def collection_add(request: MemberRequest) -> HttpResponse:
    """Add a collection to the current team."""
    form = CollectionForm(posted(request), instance=Collection(team=request.membership.team))
    if form.is_valid():
        collection = form.save()
        messages.success(request, f"Added “{collection}”.")
        return redirect("download", collection.pk)
    return render(request, "collections/add.html", {"form": form})


@collection_member(Action.MANAGE_COLLECTIONS)
@require_http_methods(["GET", "HEAD", "POST"])
def collection_rename(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Give a collection another name."""
    old_name = collection.name
    form = RenameForm(posted(request), instance=collection)
    if form.is_valid():
        form.save()
        messages.success(request, f"Renamed “{old_name}” to “{collection}”.")
        return redirect("collections")
    return render(request, "collections/rename.html", {"form": form, "old_name": old_name})


@collection_member(Action.MANAGE_COLLECTIONS)
@require_http_methods(["GET", "HEAD", "POST"])
def collection_archive(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Ask, and then take the collection out of the list."""
    if request.method != "POST":
        return render(request, "collections/archive.html", {"collection": collection})
    collection.archive()
    messages.success(
        request, f"Archived “{collection}”. Its runs and files stay; you can restore it any time."
    )
    return redirect("collections")


@collection_member(Action.MANAGE_COLLECTIONS)
@require_POST
def collection_restore(request: MemberRequest, collection: Collection) -> HttpResponseRedirect:
    """Bring an archived collection back into the list."""
    collection.restore()
    messages.success(request, f"Restored “{collection}”.")
    return redirect("collections")
