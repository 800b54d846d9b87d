"""Add products to the watchlist of a collection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.db import transaction

from collections_app.models import Collection, User, WatchedProduct
from collections_app.records.tracking.history import histories_of

LONGEST_KEY = WatchedProduct._meta.get_field("key").max_length or 0


class WatchlistFull(Exception):
    """The watchlist would have too many products. The message is for people."""


@dataclass
class Added:
    """What happened to the lines of a list of keys."""

    added: int = 0
    known: int = 0  # already on the watchlist
    duplicates: int = 0
    unknown: list[str] = field(default_factory=list)  # lines that name no product of the newest runs


def add_lines(
    collection: Collection, lines: Sequence[str], parse: Callable[[str], str | None], by: User
) -> Added:
    """Add the products that the lines name. Empty lines don't count.

    Raises WatchlistFull, and then adds nothing, ProductsUnavailable and TooManyQueries.
    """
    texts = [text for line in lines if (text := line.strip())]
    keys = {text: key for text in texts if (key := parse(text)) and len(key) <= LONGEST_KEY}
    known = histories_of(collection, list(keys.values())) if keys else {}
    wanted = dict.fromkeys(key for key in keys.values() if key in known)
    unknown = [text for text in dict.fromkeys(texts) if keys.get(text) not in known]
    added = _add(collection, list(wanted), by)
    return Added(added, len(wanted) - added, len(texts) - len(unknown) - len(wanted), unknown)


@transaction.atomic
def _add(collection: Collection, keys: Sequence[str], by: User) -> int:
    """Add these products, and return how many are new."""
    Collection.objects.select_for_update().get(pk=collection.pk)
    watched = set(collection.watchlist.values_list("key", flat=True))
    new = [key for key in keys if key not in watched]
    if len(watched) + len(new) > WatchedProduct.MOST:
        room = WatchedProduct.MOST - len(watched)
        raise WatchlistFull(
            f"A watchlist can have {WatchedProduct.MOST} products, and this one has room for {room} more. "
            "Remove some first."
        )
    WatchedProduct.objects.bulk_create(
        WatchedProduct(collection=collection, key=key, added_by=by) for key in new
    )
    return len(new)
