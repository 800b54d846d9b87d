"""Tell numbers in text from codes, and from ambiguous text.

A text is a number if it is a valid JSON number. A text with leading zeros is a code, such as an EAN. So is
"1E5", because programs write that number with a sign or a fraction: "1e+05", "1.0E5".
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from collections_app.records.formats.json_records import Number
from collections_app.records.formats.numbers import DIGITS, is_short

_WHOLE = "-?(?:0|[1-9][0-9]*)"
_FRACTION = r"(?:\.[0-9]+)"
_NUMBER = rf"{_WHOLE}(?:{_FRACTION}?(?:[eE][+-][0-9]{{1,9}})?|{_FRACTION}[eE][0-9]{{1,9}})"
# A point that may separate thousands.
_AMBIGUOUS = r"-?[1-9][0-9]{0,2}\.[0-9]{3}"
# Other texts of digits: "0012", "1,234", "555 1234", "1E5".
_DIGITS = "-?[0-9][0-9.,'\u2019 \u00a0\u2007\u2009\u202f]*(?:[eE][+-]?[0-9]+)?"
_FORM = re.compile(f"(?P<ambiguous>{_AMBIGUOUS})|(?P<number>{_NUMBER})|(?P<digits>{_DIGITS})")
_PLAIN_NUMBER = re.compile(_NUMBER)
_STARTS = frozenset("-0123456789")

# A number in a cell of a column that isn't TEXT, as a regular expression for DuckDB.
SQL_NUMBER = rf"{_WHOLE}{_FRACTION}?(?:[eE][+-]?[0-9]+)?"


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    return _PLAIN_NUMBER.fullmatch(text) is not None


class Kind(StrEnum):
    """The kind of a column's values. Amounts of money have a notation instead (money.py)."""

    NUMBERS = "numbers"  # which a double tells apart
    LONG_NUMBERS = "long numbers"
    MIXED = "mixed"  # numbers, and text that can't be taken for one
    TEXT = "text"


class KindFinder:
    """Find the kind of a column. This takes a fraction of a microsecond per value."""

    def __init__(self) -> None:
        self._has_numbers = False
        self._has_long = False
        self._has_others = False
        self._has_unclear = False

    @property
    def is_decided(self) -> bool:
        """Whether no more values can change the kind."""
        return self._has_others and self._has_unclear

    @property
    def kind(self) -> Kind:
        """The kind of all values that were added. If all are missing, they are text."""
        if not self._has_numbers or self.is_decided:
            return Kind.TEXT
        if self._has_others:
            return Kind.MIXED
        return Kind.LONG_NUMBERS if self._has_long else Kind.NUMBERS

    def add(self, values: Sequence[Any]) -> None:
        """Add the values of some records."""
        if self.is_decided:
            return
        kinds = set(map(type, values))
        self._has_others |= not kinds.issubset(_KNOWN)
        if not kinds.isdisjoint(_NUMBERS):
            self._add_numbers(values)
        if str in kinds:
            self._add_texts([value for value in values if type(value) is str])

    def _add_numbers(self, values: Iterable[Any]) -> None:
        self._has_numbers = True
        if not self._has_long:
            self._has_long = any(map(_is_long, values))

    def _add_texts(self, texts: Sequence[str]) -> None:
        digits = [text for text in texts if text[:1] in _STARTS]
        if not self._has_others and len(digits) < len(texts):
            self._has_others = any(text[:1] not in _STARTS and not _is_blank(text) for text in texts)
        for text in digits:
            form = _FORM.fullmatch(text)
            name = form and form.lastgroup
            self._has_unclear |= name in {"ambiguous", "digits"}
            if name in {"ambiguous", "number"}:
                self._has_numbers = True
                self._has_long = self._has_long or not is_short(text)
            else:
                self._has_others = True


_NUMBERS = frozenset({int, Number})
_KNOWN = frozenset({int, Number, str, type(None)})


def _is_long(value: Any) -> bool:
    kind = type(value)
    if kind is Number:
        return not is_short(str(value, "ascii"))
    return kind is int and abs(value) >= 10**DIGITS


def _is_blank(text: str) -> bool:
    return not text or text.isspace()
