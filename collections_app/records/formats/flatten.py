"""Records of any form as rows of a table: what docs/formats.md promises.

An object within a record becomes columns with dotted names: `{"price": {"cents": 5}}` is 5 in `price.cents`.
Whatever else is no single value, a list or an empty object, is one cell: its JSON as text. Columns stand in
the order in which they first appear in the whole file.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from collections_app.records.formats.json_records import Record
from collections_app.records.formats.tables import TooWide, check_columns

# Where a value stands in a record: the key, or the keys from the outermost to the innermost object.
Place = str | tuple[str, ...]
Flat = dict[Place, Any]

_SIMPLE = frozenset({str, int, float, type(None)})
_encode = msgspec.json.Encoder().encode


def flat(record: Record) -> Flat:
    """Return a record's values by their places. Objects have become places; lists are as they were.

    Raises TooWide if many deeply nested values would make the places far larger than the record itself.
    """
    if dict not in map(type, record.values()):
        return record  # type: ignore[return-value]  # a key is a place
    values: Flat = {}
    # Not by recursion: a record may be nested as deeply as can be read.
    path: list[str] = []
    inside = [iter(record.items())]
    keys = 0
    while inside:
        depth = len(path)
        for key, value in inside[-1]:
            if type(value) is dict and value:
                path.append(key)
                inside.append(iter(value.items()))
                break
            if depth:
                values[*path, key] = value
                keys += depth
                if keys > _MOST_KEYS_OF_PLACES:
                    raise TooWide(_TOO_DEEP)
            else:
                values[key] = value
        else:
            inside.pop()
            if path:
                path.pop()
    return values


_TOO_DEEP = "A record in this run is nested too deeply for a table. Export JSON Lines instead."
# The limit for one record: for example, a thousand values, each nested in a hundred objects.
_MOST_KEYS_OF_PLACES = 100_000


class Columns:
    """The columns of the records that were looked at, in the order of their first appearance.

    Where two places would have the same name (`{"a.b": 1}` and `{"a": {"b": 1}}`), or names that differ in
    case alone, which many programs take for the same, the later one gets a number: `a.b (2)`.

    With `chosen` names, remember only the columns that affect which places these names refer to.
    """

    def __init__(self, chosen: Iterable[str] = ()) -> None:
        folded = [name.casefold() for name in chosen]
        self._families = set(map(_family, folded))
        self._longest = max(map(len, folded), default=0)
        self._names: dict[Place, str] = {}
        self._places: dict[str, Place] = {}
        self._characters = 0
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}  # the last number given to each name
        self._shapes = _Shapes()

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> list[str]:
        """The names of all columns so far."""
        return list(self._places)

    @property
    def places(self) -> list[Place]:
        """The places of all columns so far, in the order of their names."""
        return list(self._names)

    def look_at(self, records: Iterable[Flat]) -> None:
        """Add the columns of more records. Raises TooWide if there are too many."""
        for record in records:
            shape = tuple(record)
            if self._shapes.is_new(shape):
                for place in shape:
                    if place not in self._names:
                        self._name(place)

    def place_of(self, name: str) -> Place | None:
        """Return where the values of a column stand; None for a name that no column has so far."""
        return self._places.get(name)

    def _name(self, place: Place) -> None:
        # A longer name can't clash with a chosen one.
        if self._families and _length(place) > self._longest:
            return
        plain = _printed(place if isinstance(place, str) else ".".join(place))
        folded = plain.casefold()
        if self._families and _family(folded) not in self._families:
            return
        # Numbers below the last one stay taken.
        number = self._numbers.get(folded, 1)
        while _numbered(folded, number) in self._taken:
            number += 1
        self._numbers[folded] = number
        name = _numbered(plain, number)
        self._taken.add(_numbered(folded, number))
        self._names[place] = name
        self._places[name] = place
        self._characters += len(name)
        check_columns(len(self._names), self._characters)


def _length(place: Place) -> int:
    return len(place) if isinstance(place, str) else sum(map(len, place)) + len(place) - 1


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"


def _family(folded: str) -> str:
    """Return a name without the numbers at its end. Only names of the same family can clash."""
    end = len(folded)
    while folded.endswith(")", 0, end):
        begin = folded.rfind(" (", 0, end)
        if begin < 0 or not folded[begin + 2 : end - 1].isdecimal():
            break
        end = begin
    return folded[:end]


class _Shapes:
    """The sets of keys seen recently. Most records share a few. The total number of keys is limited."""

    def __init__(self) -> None:
        self._seen: set[tuple[Place, ...]] = set()
        self._keys = 0

    def is_new(self, shape: tuple[Place, ...]) -> bool:
        """Return whether the shape is new, and remember it."""
        if shape in self._seen:
            return False
        self._keys += len(shape)
        if self._keys > _MOST_KEYS:
            self._seen.clear()
            self._keys = len(shape)
        self._seen.add(shape)
        return True


# Every record may have keys of its own.
_MOST_KEYS = 500_000


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
