"""Search the values of records: what is searched, and what is searched for."""

import json
import re
from collections.abc import Collection
from typing import Any

from collections_app.records.formats.json_records import Number
from collections_app.records.formats.json_text import number_text
from collections_app.system.search_normalization import search_form

LONGEST_SEARCH = 200  # characters

# Ends a value, so that no phrase matches the end of one value and the start of the next.
_END = "\x7f"
# A few characters become up to 18.
_MOST_GROWTH, _ALWAYS_KEPT = 2, 1_000

# A phrase may lack its last quotation mark while someone types it. In other positions, it is an inch mark.
_TERM = re.compile(r'(?<!\S)"([^"]+)(?:"(?!\S)|$)|(\S+)')


def searched_text(values: Collection[Any]) -> str:
    """Return the search form of all texts, numbers and words in these values, at any depth."""
    texts = _texts(values)
    joined = _END.join(texts)
    if joined.isascii():
        return search_form(joined)
    # Even then, most texts are ASCII, which takes a fraction of the time.
    plain = _END.join([text for text in texts if text.isascii()])
    others = _END.join([text for text in texts if not text.isascii()])
    return f"{search_form(plain)}{_END}{search_form(others)[: _MOST_GROWTH * len(others) + _ALWAYS_KEPT]}"


def _texts(values: Collection[Any]) -> list[str]:
    texts = [value for value in values if type(value) is str]
    # A value may be nested too deeply for recursion.
    left = [value for value in values if type(value) is not str and value is not None]
    while left:
        value = left.pop()
        kind = type(value)
        if kind is str:
            texts.append(value)
        elif kind is list:
            left += value
        elif kind is dict:
            left += value.values()
        elif value is not None:
            texts.append(number_text(value) if kind is Number else json.dumps(value))
    return texts


def terms(search: str) -> list[str]:
    """Return the search forms of the words, and of the phrases in quotes, that a record must contain."""
    pairs = _TERM.findall(search_form(search))
    found = dict.fromkeys(filter(None, (phrase.strip() or word for phrase, word in pairs)))
    needed = [term for term in found if not any(term != other and term in other for other in found)]
    # The longer a term, the fewer records contain it.
    return sorted(needed, key=len, reverse=True)
