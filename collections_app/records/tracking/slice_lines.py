"""The records of a slice as lines of JSON, which DuckDB reads.

Most records are copied from their file. Those that DuckDB would read differently than exports and pages do
are written again: if an object has a name twice, its last value counts. A number with more digits than a
double keeps becomes a text, which means the same.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from decimal import MAX_PREC, Context, Decimal
from itertools import islice
from typing import Any

from collections_app.records.formats.json_records import Number, Record, RecordsWithTexts, parse_value
from collections_app.records.formats.json_text import encoded, number_text
from collections_app.records.formats.numbers import fits_double
from collections_app.records.preview.records import fields_of

# The values of a larger record, in bytes, are cut before DuckDB reads them.
LARGEST_LINE = 1024**2
# The longest value that isn't cut, in characters.
LONGEST_VALUE = 1000

_BLANKS = b" \t\n\r"
# All digits become 0.
_SHAPE = bytes.maketrans(b"123456789.E", b"0000000000e")
# A number that a double may not keep has as many digits, or as small an exponent.
_MANY_DIGITS, _SMALL_EXPONENT = 17 * b"0", b"0e-000"
_LONG = re.compile(rb"[0-9.]{17,}(?:[eE][+-]?[0-9]+)?|[0-9.]+[eE]-[0-9]{3,}")
_CONTEXT = Context(prec=MAX_PREC)


def lines_of(batch: list[Any]) -> Iterator[bytes]:
    """Return a line for each value of a batch from read_texts()."""
    if not isinstance(batch, RecordsWithTexts):
        return map(_line, map(fields_of, batch))
    if _is_plain(b"".join(batch.texts), batch):
        return map(_line_of_text, batch.texts)
    return (
        _line_of_text(text) if _is_plain(text, [record]) else _line_of_value(text)
        for text, record in zip(batch.texts, batch, strict=True)
    )


def _is_plain(text: bytes, records: Sequence[Record]) -> bool:
    """Whether no object has a name twice, and no number has too many digits. If unsure, return False."""
    shape = text.translate(_SHAPE, _BLANKS)
    if _may_be_rounded(shape) and not all(map(_is_kept, _LONG.findall(text))):
        return False
    # Each name is followed by these two characters, but they may also be in a text.
    is_flat = shape.count(b"{") == len(records)
    return shape.count(b'":') == sum(map(len if is_flat else _names, records))


def _may_be_rounded(shape: bytes) -> bool:
    return _MANY_DIGITS in shape or _SMALL_EXPONENT in shape


def _is_kept(number: bytes) -> bool:
    """Whether DuckDB keeps every digit of a number, as it does of integers."""
    if number.isdigit():
        return True
    try:
        return repr(float(number)).encode() == number or fits_double(number.decode())
    except ValueError:  # a part of a text
        return False


def _names(record: Record) -> int:
    """Return the number of names in a record and the objects in it."""
    names, values = 0, [record]
    while values:
        value: Any = values.pop()
        if type(value) is dict:
            names += len(value)
            values += value.values()
        elif type(value) is list:
            values += value
    return names


def _line_of_text(text: bytes) -> bytes:
    if len(text) > LARGEST_LINE:
        return _line_of_value(text)
    # In JSON, these are only between values.
    if b"\n" in text or b"\r" in text:
        text = text.replace(b"\n", b" ").replace(b"\r", b" ")
    return text + b"\n"


def _line_of_value(text: bytes) -> bytes:
    return _line(fields_of(parse_value(text.decode())))


def _line(record: Record) -> bytes:
    line = encoded(record)
    if _may_be_rounded(line.translate(_SHAPE)):
        line = encoded(_exact(record))
    if len(line) > LARGEST_LINE:
        line = encoded({key: _cut(value) for key, value in islice(record.items(), 1000)})
    return line + b"\n"


def _exact(value: Any) -> Any:
    """Return a value in which numbers that a double would round are texts, the same for equal numbers."""
    match value:
        case dict():
            return {key: _exact(each) for key, each in value.items()}
        case list():
            return list(map(_exact, value))
        case Number():
            text = number_text(value)
            return value if fits_double(text) else str(Decimal(text).normalize(_CONTEXT))
    return value


def _cut(value: object) -> object:
    text = encoded(value)
    if len(text) <= LONGEST_VALUE:
        return value
    return text[:LONGEST_VALUE].decode(errors="ignore") + hashlib.md5(text, usedforsecurity=False).hexdigest()
