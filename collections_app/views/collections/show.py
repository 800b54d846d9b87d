"""Filter lists of collections: all, the user's favorites, or the collections that the user owns."""

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.core.exceptions import BadRequest

from collections_app.models import Collection, CollectionPreferences
from collections_app.models.collections import CollectionQuerySet
from collections_app.people.access import MemberRequest


class Show(enum.StrEnum):
    """The values of the parameter `show`."""

    ALL = ""
    FAVORITES = "favorites"
    MINE = "mine"


class Choice(NamedTuple):
    """A link to a part of the list."""

    name: str
    address: str
    is_chosen: bool


_NAMES = {Show.ALL: "All", Show.FAVORITES: "Favorites", Show.MINE: "Mine"}


def read_show(request: MemberRequest) -> Show:
    """Return the parameter `show`. Raises BadRequest."""
    try:
        return Show(request.GET.get("show", ""))
    except ValueError as error:
        raise BadRequest("Unknown “show” parameter. Use favorites or mine.") from error


def choices(chosen: Show, address_of: Callable[[Show], str]) -> list[Choice]:
    """Return the links to all parts of the list."""
    return [Choice(name, address_of(show), show == chosen) for show, name in _NAMES.items()]


def only(found: CollectionQuerySet, show: Show, request: MemberRequest) -> CollectionQuerySet:
    """Return the collections to show."""
    if show == Show.FAVORITES:
        return found.filter(pk__in=CollectionPreferences.favorites_of(request.user).values("collection"))
    return found.filter(owner=request.membership) if show == Show.MINE else found


def set_favorites(collections: Sequence[Collection], request: MemberRequest) -> None:
    """Set whether each collection is one of the user's favorites, in one query."""
    favorites = CollectionPreferences.favorites_of(request.user).filter(collection__in=collections)
    ids = set(favorites.values_list("collection_id", flat=True))
    for collection in collections:
        collection.is_favorite = collection.pk in ids
