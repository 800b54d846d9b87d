"""Flatten records into rows of a table, as docs/formats.md describes.

An object within a record becomes columns with dotted names: `{"price": {"cents": 5}}` is 5 in `price.cents`.
A list or an empty object becomes one cell with its JSON. Columns are in the order in which they first appear
in the run.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from collections_app.records.formats.json_records import Number, Record
from collections_app.records.formats.json_text import json_text
from collections_app.records.formats.tables import TooWide, check_columns

# The path of a value in a record: its key, or the keys from the outermost to the innermost object.
KeyPath = str | tuple[str, ...]
FlatRecord = dict[KeyPath, Any]

_SIMPLE = frozenset({str, int, float, Number, type(None)})


def flatten(record: Record) -> FlatRecord:
    """Return the values of a record by their paths. Lists are unchanged.

    Raises TooWide if many deeply nested values would make the paths far larger than the record itself.
    """
    if dict not in map(type, record.values()):
        return record  # type: ignore[return-value]  # a key is a path
    values: FlatRecord = {}
    # A record may be nested too deeply for recursion.
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
                if keys > _MOST_KEYS_IN_PATHS:
                    raise TooWide(_TOO_DEEP)
            else:
                values[key] = value
        else:
            inside.pop()
            if path:
                path.pop()
    return values


_TOO_DEEP = "A record is nested too deeply for a table. Export JSON Lines instead."
# The limit for one record: for example, a thousand values, each nested in a hundred objects.
_MOST_KEYS_IN_PATHS = 100_000


class Columns:
    """The columns of the records that were added, in the order of their first appearance.

    If two paths have the same name (`{"a.b": 1}` and `{"a": {"b": 1}}`), the later one gets a number:
    `a.b (2)`. The same goes for names that differ only in case, because many programs ignore case.

    With `chosen` names, remember only the columns that affect which paths these names refer to.
    """

    def __init__(self, chosen: Iterable[str] = ()) -> None:
        folded = [name.casefold() for name in chosen]
        self._families = set(map(_family, folded))
        self._longest = max(map(len, folded), default=0)
        self._names: dict[KeyPath, str] = {}
        self._paths: dict[str, KeyPath] = {}
        self._characters = 0
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}  # the last number given to each name
        self._shapes = _Shapes()

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> list[str]:
        """The names of all columns."""
        return list(self._paths)

    @property
    def paths(self) -> list[KeyPath]:
        """The paths of all columns, in the order of `names`."""
        return list(self._names)

    def add(self, records: Iterable[FlatRecord]) -> None:
        """Add the columns of more records. Raises TooWide if there are too many."""
        for record in records:
            shape = tuple(record)
            if self._shapes.is_new(shape):
                for path in shape:
                    if path not in self._names:
                        self._name(path)

    def path_of(self, name: str) -> KeyPath | None:
        """Return the path of a column's values, or None if there is no such column."""
        return self._paths.get(name)

    def _name(self, path: KeyPath) -> None:
        # A longer name can't clash with a chosen one.
        if self._families and _length(path) > self._longest:
            return
        plain = _valid_name(path if isinstance(path, str) else ".".join(path))
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
        self._names[path] = name
        self._paths[name] = path
        self._characters += len(name)
        check_columns(len(self._names), self._characters)


def _length(path: KeyPath) -> int:
    return len(path) if isinstance(path, str) else sum(map(len, path)) + len(path) - 1


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
    """The sets of keys seen recently. Most records share a few of them."""

    def __init__(self) -> None:
        self._seen: set[tuple[KeyPath, ...]] = set()
        self._keys = 0

    def is_new(self, shape: tuple[KeyPath, ...]) -> bool:
        """Return whether the shape is new, and remember it."""
        if shape in self._seen:
            return False
        self._keys += len(shape)
        if self._keys > _MOST_KEYS:
            self._seen.clear()
            self._keys = len(shape)
        self._seen.add(shape)
        return True


# Each record may have different keys.
_MOST_KEYS = 500_000


def _valid_name(name: str) -> str:
    """Return a name that is valid in every format."""
    return utf8(name).replace("\0", "\ufffd") or "(no name)"


def columns_of(records: Sequence[FlatRecord], paths: Sequence[KeyPath | None]) -> list[list[Any]]:
    """Return the values as columns, one per path. Missing values are None."""
    return [
        [None] * len(records) if path is None else [record.get(path) for record in records] for path in paths
    ]


def cells(values: list[Any]) -> list[Any]:
    """Return a column's values as text, numbers and None. Booleans become words, and lists become JSON."""
    if _SIMPLE.issuperset(map(type, values)):
        return values
    return [value if type(value) in _SIMPLE else json_text(value) for value in values]


def utf8(text: str) -> str:
    """Replace lone surrogates, which JSON allows and UTF-8 doesn't, with "?"."""
    return text.encode(errors="replace").decode()
