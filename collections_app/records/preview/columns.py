"""The columns of a run's records on its page. They have the same names as in exports."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from collections_app.records.formats.flatten import Columns, FlatRecord, KeyPath, flatten, utf8
from collections_app.records.formats.json_records import Record
from collections_app.records.formats.tables import TooWide

# The number of columns that can be chosen, sorted by and counted. All values are searched.
MOST_COLUMNS = 300
# The links of the page contain the names of columns.
LONGEST_NAME = 500


@dataclass(frozen=True)
class ColumnList:
    """The columns that can be chosen: their names, and the paths of their values in a record."""

    names: tuple[str, ...] = ()
    paths: tuple[KeyPath, ...] = ()
    has_more: bool = False  # which can be searched, and are in the JSON

    def path_of(self, name: str) -> KeyPath | None:
        """Return the path of a column's values, or None if there is no such column."""
        return self.paths[self.names.index(name)] if name in self.names else None


class ColumnCollector:
    """Collect the columns of a run's records, in the order of their first appearance."""

    def __init__(self) -> None:
        self._columns = Columns()
        self._is_full = False

    def add(self, records: Iterable[FlatRecord]) -> None:
        """Add the columns of more records, unless there are too many."""
        if not self._is_full:
            try:
                self._columns.add(records)
            except TooWide:
                self._is_full = True
            self._is_full |= len(self._columns) > MOST_COLUMNS

    @property
    def paths(self) -> list[KeyPath]:
        """The paths of the first columns so far."""
        return self._columns.paths[:MOST_COLUMNS]

    def columns(self) -> ColumnList:
        """Return the columns that can be chosen."""
        pairs = zip(self._columns.names, self._columns.paths, strict=True)
        short = [(name, path) for name, path in pairs if len(name) <= LONGEST_NAME]
        has_more = self._is_full or len(short) < len(self._columns)
        names, paths = zip(*short[:MOST_COLUMNS], strict=True) if short else ((), ())
        return ColumnList(names, paths, has_more)


def columns_of(records: Iterable[FlatRecord]) -> ColumnList:
    """Return the columns of some records."""
    collector = ColumnCollector()
    collector.add(records)
    return collector.columns()


def paths_of(names: Sequence[str], records: Sequence[FlatRecord]) -> list[KeyPath | None]:
    """Return the paths of columns outside the list, or None for those that these records don't have."""
    columns = Columns(names)
    with suppress(TooWide):
        columns.add(records)
    return [columns.path_of(name) for name in names]


def flat(record: Record) -> FlatRecord:
    """Return the values of a record by their paths, in which lone surrogates are replaced.

    Objects that are nested too deeply for a table are left out.
    """
    try:
        values = flatten(record)
    except TooWide:
        return {key: value for key, value in record.items() if type(value) is not dict}
    return values if values is record else _valid(values)


def _valid(values: FlatRecord) -> FlatRecord:
    keys = {key for path in values for key in ((path,) if isinstance(path, str) else path)}
    try:
        "".join(keys).encode()
    except UnicodeEncodeError:
        return {_valid_path(path): value for path, value in values.items()}
    return values


def _valid_path(path: KeyPath) -> KeyPath:
    return utf8(path) if isinstance(path, str) else tuple(map(utf8, path))
