"""Keys as people write them: the text of a key, or a list of its texts as in columns of exports."""

from collections.abc import Sequence

from collections_app.records.column_list import encode_columns, parse_columns
from collections_app.records.tracking.keys import key_of_texts, texts_of


def shown_key(key: str) -> str:
    """Return a key as people write it."""
    texts = texts_of(key)
    return texts[0] if len(texts) == 1 else encode_columns(texts)


def parse_key(text: str, columns: Sequence[str]) -> str | None:
    """Return the key that a text means, or None if it has another number of parts than columns."""
    texts = [text.strip()] if len(columns) == 1 else _texts(text)
    return key_of_texts(texts) if len(texts) == len(columns) and all(texts) else None


def _texts(text: str) -> list[str]:
    try:
        return [name for each in parse_columns(text) if (name := each.strip())]
    except ValueError:
        return []
