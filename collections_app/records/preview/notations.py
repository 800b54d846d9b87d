"""How the amounts of money in each column of a run's records are written."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from collections_app.records.formats.flatten import FlatRecord, KeyPath
from collections_app.records.money import NotationFinder
from collections_app.records.preview.columns import ColumnList


class NotationCollector:
    """Find the notation of each column. Columns with other values cost nothing after the first of them."""

    def __init__(self) -> None:
        self._finders: dict[KeyPath, NotationFinder] = {}
        self._possible: set[KeyPath] = set()

    def add(self, records: Sequence[FlatRecord], paths: Sequence[KeyPath]) -> None:
        """Add more records. The paths are those of all columns so far, in the order of their appearance."""
        for path in paths[len(self._finders) :]:
            self._finders[path] = NotationFinder()
            self._possible.add(path)
        for path, values in list(self._values(records)):
            self._finders[path].add(values)
            if not self._finders[path].is_possible:
                self._possible.remove(path)

    def finders(self, columns: ColumnList) -> dict[str, NotationFinder]:
        """Return the finders of columns by their names."""
        pairs = zip(columns.names, columns.paths, strict=True)
        return {name: self._finders[path] for name, path in pairs if path in self._finders}

    def _values(self, records: Sequence[FlatRecord]) -> Iterable[tuple[KeyPath, list[Any]]]:
        # Records may have few values each, in many columns.
        if len(self._possible) * len(records) > 4 * sum(map(len, records)):
            return self._values_by_record(records)
        return self._values_by_column(records)

    def _values_by_column(self, records: Sequence[FlatRecord]) -> Iterator[tuple[KeyPath, list[Any]]]:
        for path in self._possible:
            yield path, [record.get(path) for record in records]

    def _values_by_record(self, records: Sequence[FlatRecord]) -> Iterable[tuple[KeyPath, list[Any]]]:
        values = defaultdict(list)
        for record in records:
            for path, value in record.items():
                if path in self._possible:
                    values[path].append(value)
        return values.items()
