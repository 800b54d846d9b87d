"""Search for a product in all collections of the team."""

from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.records.preview.concurrency import TooManyQueries, queries_of
from collections_app.records.tracking.key_text import shown_key
from collections_app.records.tracking.product_search import MOST_FOUND, search_products
from collections_app.records.tracking.tracked_runs import ProductsUnavailable
from collections_app.views.products.address import product_address
from collections_app.views.products.money import PriceFormat, price_text
from collections_app.views.run.table import render_result

_LONGEST = 200


@team_member(Action.SEE)
@require_safe
def products(request: MemberRequest) -> HttpResponse:
    """Find products by the key or words of the title in `q`. htmx gets the results only."""
    text = request.GET.get("q", "").replace("\0", "").strip()[:_LONGEST]
    context: dict[str, Any] = {"text": text, "most": MOST_FOUND}
    try:
        with queries_of(request.user.pk):
            found = search_products(request.membership.team, text)
    except ProductsUnavailable as problem:
        context["problem"] = str(problem)
    except TooManyQueries as problem:
        context |= {"problem": str(problem), "is_refused": True}
    else:
        context["found"] = found
        # Prices below each other have the same decimals.
        amounts = [each.amount for each in found.products if each.amount is not None]
        context["lines"] = [
            {
                "collection": each.collection,
                "title": each.title or shown_key(each.key),
                "name": shown_key(each.key),
                "address": product_address(each.collection.pk, each.key),
                "price": price_text(each, PriceFormat.of(each.collection, amounts)),
            }
            for each in found.products
        ]
    is_refused = "is_refused" in context
    return render_result(
        request, "products/search.html", "products/_found.html", context, is_refused=is_refused
    )
