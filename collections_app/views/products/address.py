"""The addresses of products."""

from urllib.parse import quote

from django.http import Http404
from django.urls import reverse

from collections_app.models import Collection, TrackingSettings
from collections_app.records.tracking.key_text import parse_key, shown_key


def product_address(collection_id: int, key: str) -> str:
    """Return the address of a product's page."""
    name = shown_key(key)
    if _DOTS.isdisjoint(name.split("/")):
        return reverse("product", args=[collection_id, name])
    # Browsers would resolve these dots. The space at the end isn't part of the key.
    return reverse("product", args=[collection_id, "-"]).removesuffix("-") + quote(f"{name} ", safe="")


_DOTS = frozenset({".", ".."})


def runs_address(collection: Collection) -> str:
    """Return what the addresses of the runs begin with, because reversing hundreds of them takes long."""
    return f"{reverse('collection', args=[collection.pk])}runs/"


def key_columns(collection: Collection) -> tuple[str, ...]:
    """Return the columns that name a product, or none if the collection has no key."""
    settings = TrackingSettings.objects.filter(collection=collection).first()
    return settings.key if settings else ()


def key_in_address(collection: Collection, text: str) -> str:
    """Return the key that an address names. Raises Http404."""
    columns = key_columns(collection)
    if not columns:
        raise Http404(
            "This collection has no key, so its products can't be told apart. Choose a key in its settings."
        )
    key = parse_key(text, columns)
    if key is None:
        names = ", ".join(columns)
        raise Http404(f"A product of this collection is named by {names}. Separate the values by commas.")
    return key
