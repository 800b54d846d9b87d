"""What other programs do with the numbers of a JSON file."""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from collections_app.records.formats.json_records import Number
from collections_app.records.formats.json_text import written_numbers

# A double keeps every integer up to here, and every decimal number with this many digits (IEEE 754).
_LARGEST_INTEGER = 2**53
DIGITS = 15


def fit_doubles(values: Sequence[Any]) -> bool:
    """Whether doubles can represent all numbers among these values, without losing a digit."""
    integers = [value for value in values if type(value) is int]
    texts = written_numbers([value for value in values if type(value) is Number])
    return (
        min(integers, default=0) >= -_LARGEST_INTEGER
        and max(integers, default=0) <= _LARGEST_INTEGER
        and (all(map(is_short, texts)) or all(map(fits_double, texts)))
    )


def is_short(text: str) -> bool:
    """Whether a number has few digits and no exponent, so that a double can represent it."""
    return len(text) <= DIGITS and "e" not in text and "E" not in text


def fits_double(text: str) -> bool:
    """Whether a double can represent this number without losing a digit."""
    number = float(text)
    if not number:  # perhaps because it is too small
        return not text.lower().partition("e")[0].strip("-0.")
    return math.isfinite(number) and Decimal(repr(number)) == Decimal(text)
