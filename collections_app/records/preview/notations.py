"""Find out how each column of a run's records writes numbers and amounts of money."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from collections_app.records.column_roles import currency_column, is_price
from collections_app.records.formats.flatten import FlatRecord, KeyPath
from collections_app.records.money import NotationFinder
from collections_app.records.numeric_text import KindFinder
from collections_app.records.preview.columns import ColumnList


class NotationCollector:
    """Find the notation and the kind of each column. Columns cost nothing once both are known."""

    def __init__(self) -> None:
        self._finders: dict[KeyPath, NotationFinder] = {}
        self._kinds: dict[KeyPath, KindFinder] = {}
        self._possible: set[KeyPath] = set()
        self.currencies: dict[
            KeyPath, KeyPath | None
        ] = {}  # the columns of prices, with those that name theirs

    def add(self, records: Sequence[FlatRecord]) -> None:
        """Add more records. Values in columns that weren't added don't count."""
        for path, values in list(self._values(records)):
            self._finders[path].add(values, self._currencies_of(path, records))
            self._kinds[path].add(values)
            if self._kinds[path].is_decided and not self._finders[path].is_possible:
                self._possible.remove(path)

    def _currencies_of(self, price: KeyPath, records: Sequence[FlatRecord]) -> Sequence[Any]:
        """Return the values in the column that names the currencies of these prices."""
        currency = self.currencies.get(price)
        return [] if currency is None else [record.get(currency) for record in records]

    def add_columns(self, paths: Sequence[KeyPath]) -> None:
        """Add the new ones of all columns so far, which are in the order of their appearance."""
        if len(paths) == len(self._finders):
            return
        for path in paths[len(self._finders) :]:
            self._finders[path] = NotationFinder()
            self._kinds[path] = KindFinder()
            self._possible.add(path)
        by_name = {path if isinstance(path, str) else ".".join(path): path for path in paths}
        self.currencies = {
            path: by_name.get(currency_column(name, by_name) or "")
            for name, path in by_name.items()
            if is_price(name)
        }

    def finders(self, columns: ColumnList) -> dict[str, NotationFinder]:
        """Return the finders of columns by their names."""
        pairs = zip(columns.names, columns.paths, strict=True)
        return {name: self._finders[path] for name, path in pairs if path in self._finders}

    def kinds(self, columns: ColumnList) -> dict[str, KindFinder]:
        """Return the finders of the kinds of columns by their names."""
        pairs = zip(columns.names, columns.paths, strict=True)
        return {name: self._kinds[path] for name, path in pairs if path in self._kinds}

    def _values(self, records: Sequence[FlatRecord]) -> Iterator[tuple[KeyPath, list[Any]]]:
        # Records may have few values each, in many columns.
        if len(self._possible) * len(records) > 4 * sum(map(len, records)):
            return self._values_by_record(records)
        return self._values_by_column(records)

    def _values_by_column(self, records: Sequence[FlatRecord]) -> Iterator[tuple[KeyPath, list[Any]]]:
        for path in self._possible:
            yield path, [record.get(path) for record in records]

    def _values_by_record(self, records: Sequence[FlatRecord]) -> Iterator[tuple[KeyPath, list[Any]]]:
        values = defaultdict(list)
        for record in records:
            for path, value in record.items():
                if path in self._possible and not self.currencies.get(path):
                    values[path].append(value)
        yield from values.items()
        for path in self._possible & {path for path, named in self.currencies.items() if named}:
            yield path, [record.get(path) for record in records]
