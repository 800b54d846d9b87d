"""Lists in a URL, such as the columns `asin, price,"a,b"`. A list is a line of a CSV file."""

import re
from collections.abc import Iterable, Iterator

_NAME = re.compile(r'[ \t]*(?:"([^"]*(?:""[^"]*)*)"[ \t]*(?=,|\Z)|([^,]*))(?:,|\Z)')
_NEEDS_QUOTES = re.compile(r'[,"\r\n]|^[ \t]|[ \t]$')
_LINE_BREAK = re.compile(r"[\r\n]")


def parse_columns(text: str) -> Iterator[str]:
    """Yield the names in a list. Raises ValueError for a line break outside quotes.

    Spaces around a name are ignored, unless they are inside its quotes.
    """
    for found in _NAME.finditer(text):
        quoted, plain = found.groups()
        if quoted is not None:
            yield quoted.replace('""', '"')
        elif _LINE_BREAK.search(plain):
            raise ValueError("A name with a line break isn't quoted.")
        else:
            yield plain.strip(" \t")


def encode_columns(names: Iterable[str]) -> str:
    """Return these names as a list that parse_columns() reads."""
    return ",".join(map(_encoded, names))


def _encoded(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"' if _NEEDS_QUOTES.search(name) else name
