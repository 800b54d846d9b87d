"""Export the changes between two runs, one change or one product per row."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from itertools import groupby
from typing import Any
from urllib.parse import parse_qsl, urlencode

from collections_app.models import Comparison, Export, Layout
from collections_app.records.column_list import encode_columns
from collections_app.records.formats.export_formats import ExportSpec, Format, Read
from collections_app.records.formats.json_records import Number, Record, parse_value
from collections_app.records.preview.engine import QueryTimeout, UnreadableFile
from collections_app.records.tracking.build_comparison import NoKey, build
from collections_app.records.tracking.change_file import json_value
from collections_app.records.tracking.change_queries import ChangeQuery
from collections_app.records.tracking.compare import Entry
from collections_app.records.tracking.comparisons import comparison_of, every_change_of
from collections_app.records.tracking.keys import texts_of
from collections_app.records.tracking.kinds import ChangeKind
from collections_app.sources import SourceUnavailable

# As in addresses.
LAYOUTS = {"long": Layout.CHANGES, "wide": Layout.PRODUCTS}

_POLL_SECONDS = 0.5
_COLUMNS = ("key", "title", "column", "kind", "was", "now", "percent", "amount", "currency")
_PRODUCTS_AT_ONCE = 500

Counted = Callable[[Iterable[list[Record]]], Iterator[list[Record]]]


# --- the query, as the spec of an export stores it ----------------------------------------------


def narrowed(spec: ExportSpec, query: ChangeQuery) -> ExportSpec:
    """Return the spec, with a query of changes. Columns without values are empty."""
    values: list[tuple[str, object]] = [
        *(("kind", kind.value) for kind in query.kinds),
        ("column", query.column or None),
        ("min_percent", query.min_percent),
        ("min_amount", query.min_amount),
        ("sort", query.sort or None),
        ("descending", "1" if query.descending else None),
        ("volatile", "1" if query.is_volatile else None),
        ("after", query.after or None),
        ("limit", query.limit),
        *(("key", key) for key in query.keys or ()),
        ("keys", None if query.keys is None else len(query.keys)),
    ]
    texts = tuple(urlencode([each]) for each in values if each[1] is not None)
    return replace(spec, search=query.text, filters=texts, allows_missing=True)


def query_of(spec: ExportSpec) -> ChangeQuery:
    """Return the query of changes in a spec that narrowed() returned."""
    pairs = [pair for text in spec.filters for pair in parse_qsl(text, keep_blank_values=True)]
    values = dict(pairs)
    return ChangeQuery(
        kinds=tuple(ChangeKind(value) for name, value in pairs if name == "kind"),
        column=values.get("column", ""),
        min_percent=Decimal(values["min_percent"]) if "min_percent" in values else None,
        min_amount=Decimal(values["min_amount"]) if "min_amount" in values else None,
        text=spec.search,
        keys=tuple(value for name, value in pairs if name == "key") if "keys" in values else None,
        sort=values.get("sort", ""),
        descending="descending" in values,
        is_volatile="volatile" in values,
        after=int(values.get("after", 0)),
        limit=int(values["limit"]) if "limit" in values else None,
    )


# --- records ------------------------------------------------------------------------------------


def ready_comparison(export: Export, alive: Callable[[], None], must_stop: Callable[[], bool]) -> Comparison:
    """Return the comparison of an export's runs, which is usually ready. Otherwise, build it or wait.

    Raises SourceUnavailable if it can't be built, and what `alive` raises.
    """
    run, since = export.runs()
    while True:
        try:
            comparison = comparison_of(run, since)
        except NoKey as problem:
            raise SourceUnavailable(str(problem)) from None
        if comparison.has_changes:
            return comparison
        if comparison.failure:
            raise SourceUnavailable(comparison.failure)
        if not build(comparison, must_stop=must_stop):
            time.sleep(_POLL_SECONDS)
        alive()


class ChangeRecords:
    """The changes that an export contains, as records. `counted` counts them while they are read."""

    def __init__(self, export: Export, comparison: Comparison, spec: ExportSpec, counted: Counted) -> None:
        self._comparison = comparison
        self._query = query_of(spec)
        self._counted = counted
        self._is_by_product = export.layout == Layout.PRODUCTS
        self._is_table = spec.format not in {Format.JSON, Format.JSONL}
        columns = () if self._is_by_product or not self._is_table else _COLUMNS
        self.spec = replace(spec, columns=columns)

    def read(self, query: ChangeQuery | None = None) -> Iterator[list[Record]]:
        """Yield the records in batches. Raises SourceUnavailable."""
        query = query or self._query
        batches = self._products(query) if self._is_by_product else self._changes(query)
        try:
            yield from self._counted(batches)
        except (QueryTimeout, UnreadableFile, FileNotFoundError):
            raise SourceUnavailable("The changes can't be read now. Try again later.") from None

    def sheets(self) -> Iterator[tuple[str, Read]]:
        """Yield the names and the records of the sheets of a workbook: one per kind, unless by product."""
        counts = self._comparison.counts
        kinds = [kind for kind in self._query.kinds or ChangeKind if counts.get(kind)]
        if self._is_by_product or not kinds:
            yield "Changes", self.read
        else:
            for kind in kinds:
                name = kind.value.replace("_", " ").capitalize()
                yield name, partial(self.read, replace(self._query, kinds=(kind,)))

    def _changes(self, query: ChangeQuery) -> Iterator[list[Record]]:
        for entries in every_change_of(self._comparison, query):
            yield [self._change(entry) for entry in entries]

    def _change(self, entry: Entry) -> Record:
        values = (
            self._key(entry),
            entry.title,
            entry.column,
            entry.kind.value,
            _value(entry.was),
            _value(entry.now),
            _number(entry.percent),
            _number(entry.amount),
            entry.currency or None,
        )
        return dict(zip(_COLUMNS, values, strict=True))

    def _key(self, entry: Entry) -> str | Sequence[str]:
        texts = texts_of(entry.key)
        if not self._is_table:
            return texts
        return texts[0] if len(texts) == 1 else encode_columns(texts)

    def _products(self, query: ChangeQuery) -> Iterator[list[Record]]:
        by_key = replace(query, sort="key", descending=False)
        entries = (entry for some in every_change_of(self._comparison, by_key) for entry in some)
        products: list[Record] = []
        for _, changes in groupby(entries, key=lambda entry: entry.key):
            products.append(self._product(list(changes)))
            if len(products) == _PRODUCTS_AT_ONCE:
                yield products
                products = []
        yield products

    def _product(self, changes: Sequence[Entry]) -> Record:
        first = changes[0]
        kinds = ", ".join(dict.fromkeys(change.kind.value for change in changes))
        record: Record = {"key": self._key(first), "title": first.title, "kind": kinds}
        for change in changes:
            if change.column is not None:
                record[f"{change.column} (was)"] = _value(change.was)
                record[f"{change.column} (now)"] = _value(change.now)
        return record


def _value(cell: str | None) -> Any:
    return parse_value(json_value(cell).decode())


def _number(number: Decimal | None) -> Any:
    return None if number is None else Number(json.dumps(float(number)).encode())
