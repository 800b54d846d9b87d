"""Facts about the records of a run: missing values, the range of prices, and how many are in stock."""

from typing import IO

import msgspec

from collections_app.files.storage.cache import BuildFailed, cached, existing
from collections_app.records.preview.column_facts import Column, columns_in
from collections_app.records.preview.concurrency import current_user_id
from collections_app.records.preview.engine import FACTS, QueryTimeout
from collections_app.records.preview.price_facts import PriceFacts, prices_in
from collections_app.records.preview.queries import connect
from collections_app.records.preview.stock_facts import StockFacts, stock_in
from collections_app.records.preview.table import Table, TableUnavailable
from collections_app.system.background import Background

_SECONDS = 60.0


class Facts(msgspec.Struct, frozen=True):
    """Facts about the records in a table."""

    records: int
    columns: list[Column]
    prices: PriceFacts
    stock: StockFacts

    @property
    def has_gaps(self) -> bool:
        """Whether a column has missing values."""
        return any(column.missing for column in self.columns)


_background = Background("preview-facts", most=2)


def facts_of(table: Table, *, seconds: float) -> Facts:
    """Return the facts about a table, which are cached. Raises StillWorking, TableUnavailable."""
    name = name_of_facts(table.path.name)
    entry = existing(name)
    if entry is None:
        return _background.done_within(seconds, name, lambda: _build(name, table), owner=current_user_id())
    with entry:
        return msgspec.json.decode(entry.read(), type=Facts)


def name_of_facts(table: str) -> str:
    """Return the name in the cache of the facts about a table."""
    return f"{table}.facts"


def _build(name: str, table: Table) -> Facts:
    try:
        with cached(name, lambda out: _write(table, out)) as entry:
            return msgspec.json.decode(entry.read(), type=Facts)
    except (BuildFailed, OSError):
        raise TableUnavailable("The statistics can't be calculated. Try again.") from None
    except QueryTimeout:
        raise TableUnavailable("Calculating the statistics takes too long.") from None


def _write(table: Table, out: IO[bytes]) -> None:
    out.write(msgspec.json.encode(_facts(table)))


def _facts(table: Table) -> Facts:
    records = table.records - table.too_large
    with connect(table, seconds=_SECONDS, semaphore=FACTS) as database:
        columns = columns_in(database, table, table.columns)
        return Facts(
            records, columns, prices_in(database, table, columns), stock_in(database, table, columns)
        )
