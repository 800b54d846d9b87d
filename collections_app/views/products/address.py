"""The addresses of products. A key with several parts is a list, as in columns of exports."""

from collections.abc import Iterable

from django.http import Http404
from django.urls import reverse

from collections_app.models import Collection, TrackingSettings
from collections_app.records.column_list import encode_columns, parse_columns
from collections_app.records.tracking.keys import key_of_texts, texts_of


def shown_key(key: str) -> str:
    """Return a key as people write it: its text, or a list of its texts."""
    return written_key(texts_of(key))


def written_key(texts: Iterable[str]) -> str:
    """Return the texts of a key as people write it."""
    texts = list(texts)
    return texts[0] if len(texts) == 1 else encode_columns(texts)


def product_address(collection_id: int, key: str) -> str:
    """Return the address of a product's page."""
    return reverse("product", args=[collection_id, shown_key(key)])


def parse_key(text: str, settings: TrackingSettings | None) -> str | None:
    """Return the key that a text means, or None if it has another number of parts."""
    columns = settings.key if settings else ()
    if len(columns) == 1:
        texts = [text.strip()]
    else:
        try:
            texts = [name for each in parse_columns(text) if (name := each.strip())]
        except ValueError:
            return None
    return key_of_texts(texts) if columns and len(texts) == len(columns) and all(texts) else None


def key_in_address(collection: Collection, text: str) -> str:
    """Return the key that an address names. Raises Http404."""
    settings = TrackingSettings.objects.filter(collection=collection).first()
    if settings is None or not settings.key:
        raise Http404(
            "This collection has no key, so its products can't be told apart. Choose a key in its settings."
        )
    key = parse_key(text, settings)
    if key is None:
        columns = ", ".join(settings.key)
        raise Http404(f"A product of this collection is named by {columns}. Separate the values by commas.")
    return key
