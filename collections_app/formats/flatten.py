"""Records of any form as rows of a table: what docs/formats.md promises.

An object within a record becomes columns with dotted names: `{"price": {"cents": 5}}` is 5 in `price.cents`.
Whatever else is no single value, a list or an empty object, is one cell: its JSON as text. Columns stand in
the order in which they first appear in the whole file.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from collections_app.formats.json_records import Record

# Where a value stands in a record: the key, or the keys from the outermost to the innermost object.
Place = str | tuple[str, ...]
Flat = dict[Place, Any]

_SIMPLE = frozenset({str, int, float, type(None)})
_encode = msgspec.json.Encoder().encode


def flat(record: Record) -> Flat:
    """Return a record's values by their places. Objects have become places; lists are as they were."""
    if dict not in map(type, record.values()):
        return record  # type: ignore[return-value]  # a key is a place
    values: Flat = {}
    # Not by recursion: a record may be nested as deeply as can be read.
    inside: list[tuple[tuple[str, ...], Iterator[tuple[str, Any]]]] = [((), iter(record.items()))]
    while inside:
        path, items = inside[-1]
        for key, value in items:
            if type(value) is dict and value:
                inside.append(((*path, key), iter(value.items())))
                break
            values[(*path, key) if path else key] = value
        else:
            inside.pop()
    return values


class Columns:
    """The columns of the records that were looked at, in the order of their first appearance.

    Where two places would have the same name (`{"a.b": 1}` and `{"a": {"b": 1}}`), or names that differ in
    case alone, which many programs take for the same, the later one gets a number: `a.b (2)`.
    """

    def __init__(self) -> None:
        self._names: dict[Place, str] = {}
        self._places: dict[str, Place] = {}
        self._taken: set[str] = set()
        self._shapes: set[tuple[Place, ...]] = set()

    @property
    def names(self) -> list[str]:
        """The names of all columns so far."""
        return list(self._places)

    @property
    def places(self) -> list[Place]:
        """The places of all columns so far, in the order of their names."""
        return list(self._names)

    def look_at(self, records: Iterable[Flat]) -> None:
        """Take in the columns of more records."""
        for record in records:
            shape = tuple(record)
            if shape not in self._shapes:
                self._shapes.add(shape)
                if len(self._shapes) > _MOST_SHAPES:
                    self._shapes.clear()
                for place in shape:
                    if place not in self._names:
                        self._name(place)

    def place_of(self, name: str) -> Place | None:
        """Return where the values of a column stand; None for a name that no column has so far."""
        return self._places.get(name)

    def _name(self, place: Place) -> None:
        plain = _printed(place if isinstance(place, str) else ".".join(place))
        name, count = plain, 1
        while name.casefold() in self._taken:
            count += 1
            name = f"{plain} ({count})"
        self._taken.add(name.casefold())
        self._names[place] = name
        self._places[name] = place


# Sets of keys are remembered up to this many: records may all have keys of their own.
_MOST_SHAPES = 10_000


def _printed(name: str) -> str:
    """Return the name as every format can hold it."""
    return utf8(name).replace("\0", "\ufffd") or "(no name)"


def columns_of(records: Sequence[Flat], places: Sequence[Place | None]) -> list[list[Any]]:
    """Return the values of each place, by columns; None where a record has none."""
    return [
        [None] * len(records) if place is None else [record.get(place) for record in records]
        for place in places
    ]


def cells(values: list[Any]) -> list[Any]:
    """Return a column's values as texts, numbers and None: words for true and false, JSON for the rest."""
    if _SIMPLE.issuperset(map(type, values)):
        return values
    return [value if type(value) in _SIMPLE else json_text(value) for value in values]


def json_text(value: Any) -> str:
    """Return a value as compact JSON."""
    try:
        return _encode(value).decode()
    except (UnicodeEncodeError, OverflowError):
        # Half a surrogate pair, or a number of more than 64 bits.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def utf8(text: str) -> str:
    """Return a text as UTF-8 can hold it: half a surrogate pair, which JSON allows, becomes "?"."""
    return text.encode(errors="replace").decode()
