"""The watchlist of a collection, which its team shares."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.models import Collection, WatchedProduct
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.concurrency import TooManyQueries, queries_of
from collections_app.records.tracking.history import History, PriceChange, histories_of
from collections_app.records.tracking.key_text import parse_key, shown_key
from collections_app.records.tracking.tracked_runs import ProductsUnavailable
from collections_app.records.tracking.watchlist import Added, WatchlistFull, add_lines
from collections_app.views.products.address import key_columns, product_address
from collections_app.views.products.money import PriceFormat, price_text

_LONGEST_TEXT = 200_000
# How many unknown keys are named, and how much of each.
_NAMED, _LONGEST_NAME = 5, 50


@collection_member(Action.SEE)
@require_http_methods(["GET", "HEAD", "POST"])
def collection_watchlist(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Show the watched products. POST adds or removes a `product`, or adds the lines of `keys`."""
    if request.method == "POST":
        return _add_lines(request, collection) if "keys" in request.POST else _change(request, collection)
    return _page(request, collection)


def _page(request: MemberRequest, collection: Collection, **context: Any) -> HttpResponse:
    watched = list(collection.watchlist.select_related("added_by").order_by("added_at", "pk"))
    status = 200
    histories: dict[str, History] = {}
    try:
        if watched:
            with queries_of(request.user.pk):
                histories = histories_of(collection, [each.key for each in watched])
    except ProductsUnavailable as problem:
        context["problem"] = str(problem)
    except TooManyQueries as problem:
        context["problem"], status = str(problem), 429
    context |= {
        "collection": collection,
        "key_columns": key_columns(collection),
        "lines": [_line(each, histories.get(each.key)) for each in watched],
        "most": WatchedProduct.MOST,
    }
    return render(request, "products/watchlist.html", context, status=status)


@dataclass(frozen=True)
class Line:
    """A watched product with its price now and its last change."""

    watched: WatchedProduct
    name: str
    address: str
    title: str
    price: str = ""
    history: History | None = None
    change: PriceChange | None = None
    was: str = ""

    @property
    def percent(self) -> Decimal | None:
        """The last change in percent, with one decimal."""
        return self.change.percent if self.change else None


def _line(watched: WatchedProduct, history: History | None) -> Line:
    name, address = shown_key(watched.key), product_address(watched.collection_id, watched.key)
    if history is None:
        return Line(watched, name, address, name)
    prices = PriceFormat.of(watched.collection, (amount for _, amount in history.priced))
    change = history.last_change
    return Line(
        watched,
        name,
        address,
        history.title or name,
        price_text(history.newest_price.first, prices),
        history,
        change,
        prices.text(change.was, history.currency) if change else "",
    )


def _change(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Add or remove one product."""
    text = request.POST.get("product", "")
    key = parse_key(text, key_columns(collection))
    if key is None:
        raise BadRequest("This isn't a key of a product in this collection.")
    if request.POST.get("watch") == "on":
        _add(request, collection, [text])
    else:
        collection.watchlist.filter(key=key).delete()
        messages.success(request, f"Removed “{text}” from the watchlist.")
    if request.POST.get("back") == "product":
        return redirect(product_address(collection.pk, key))
    return redirect("collection_watchlist", collection.pk)


def _add_lines(request: MemberRequest, collection: Collection) -> HttpResponse:
    text = request.POST["keys"]
    if len(text) > _LONGEST_TEXT:
        messages.error(
            request, f"This list is too long. Paste up to {WatchedProduct.MOST} keys, one per line."
        )
        return redirect("collection_watchlist", collection.pk)
    rejected = _add(request, collection, text.splitlines())
    if rejected:
        # Show them again, so that they can be corrected.
        return _page(request, collection, rejected="\n".join(rejected))
    return redirect("collection_watchlist", collection.pk)


def _add(request: MemberRequest, collection: Collection, lines: Sequence[str]) -> Sequence[str]:
    """Add products, and say what happened. Return the lines that weren't added."""
    columns = key_columns(collection)
    try:
        with queries_of(request.user.pk):
            done = add_lines(collection, lines, lambda text: parse_key(text, columns), request.user)
    except (WatchlistFull, ProductsUnavailable, TooManyQueries) as problem:
        messages.error(request, str(problem))
        return lines
    if done.added or not done.unknown:
        messages.success(request, " ".join(_sentences(done)))
    if done.unknown:
        messages.error(request, _unknown(done.unknown))
    return done.unknown


def _sentences(done: Added) -> Iterator[str]:
    yield f"Added {done.added} product{'s'[: done.added != 1]}."
    if done.known:
        yield f"{done.known} {'was' if done.known == 1 else 'were'} on the watchlist already."
    if done.duplicates:
        yield f"Ignored {done.duplicates} duplicate{'s'[: done.duplicates != 1]}."


def _unknown(texts: Sequence[str]) -> str:
    named = ", ".join(f"“{text[:_LONGEST_NAME]}”" for text in texts[:_NAMED])
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return f"The newest runs don't contain {named}{more}. Check the spelling."
