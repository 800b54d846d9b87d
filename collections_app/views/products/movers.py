"""The biggest movers of a collection: the products whose prices have moved most."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from collections_app.models import Collection
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.concurrency import TooManyQueries, queries_of
from collections_app.records.tracking.key_text import shown_key
from collections_app.records.tracking.movers import Mover, movers_of
from collections_app.records.tracking.tracked_runs import ProductsUnavailable
from collections_app.views.products.address import key_columns, product_address
from collections_app.views.products.money import PriceFormat

WINDOWS = (7, 30)


@collection_member(Action.SEE)
@require_safe
def collection_movers(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Show the biggest falls and rises against the median of the last 7 or 30 `runs`."""
    window = next((each for each in WINDOWS if request.GET.get("runs") == str(each)), WINDOWS[0])
    context: dict[str, Any] = {
        "collection": collection,
        "window": window,
        "windows": WINDOWS,
        "has_key": bool(key_columns(collection)),
    }
    status = 200
    try:
        with queries_of(request.user.pk):
            movers = movers_of(collection, window)
    except ProductsUnavailable as problem:
        context["problem"] = str(problem)
    except TooManyQueries as problem:
        context["problem"], status = str(problem), 429
    else:
        context["movers"] = movers
        context["sides"] = [
            (name, [_line(collection, each) for each in side])
            for name, side in (("Price falls", movers.falls), ("Price rises", movers.rises))
        ]
    return render(request, "products/movers.html", context, status=status)


def _line(collection: Collection, mover: Mover) -> dict[str, object]:
    prices = PriceFormat.of(collection, [mover.usual, mover.now])
    name = shown_key(mover.key)
    return {
        "title": mover.title or name,
        "name": name,
        "address": product_address(collection.pk, mover.key),
        "now": prices.text(mover.now, mover.currency),
        "usual": prices.text(mover.usual, mover.currency),
        "percent": mover.percent,
        "runs": mover.runs,
    }
