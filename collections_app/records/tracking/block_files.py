"""The files of blocks: Parquet files with the products of some runs, sorted by key.

A row has the key, the number of the run, the position n of the record in it, and what the record says about
the product. The amount of a price is in units of its column, of which `unit` make one unit of the currency.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from collections_app.records.preview.engine import Database
from collections_app.records.tracking.keys import Key, sql_key, sql_text
from collections_app.records.tracking.kinds import Tracked
from collections_app.records.tracking.prices import SqlPrices
from collections_app.records.tracking.slices import SliceFile

# Changes with the columns of the files.
VERSION = 2
# How many rows are sorted at once, in memory.
_MOST_ROWS = 200_000
# Small enough to read few rows for one product, large enough that there are few groups to look up.
_ROWS_IN_A_GROUP = 8192
_SAMPLE = 5000

# Less and greater than every key, which is a JSON list.
_LOWEST, _HIGHEST = "", "~"

_OF_A_SLICE = """
SELECT {key} AS key, $number::BIGINT AS number, n, {title} AS title, {price} AS price, {amount} AS amount,
    {unit}::SMALLINT AS unit, {currency} AS currency, {stock} AS stock, {seller} AS seller
FROM read_parquet($files) {join} WHERE {key} IS NOT NULL
"""
_OF_BLOCKS = "SELECT * FROM read_parquet($files) WHERE list_contains($numbers, number)"
_SAMPLE_OF = "SELECT key FROM ({rows}) USING SAMPLE reservoir({sample} ROWS) REPEATABLE (1)"
_PART = "SELECT * FROM ({rows}) WHERE key >= $low AND key < $high ORDER BY key, number, n"
_PARTS = "SELECT * FROM read_parquet($files)"
_COPY = "COPY ({rows}) TO '{out}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {group})"

_Values = Mapping[str, object]


class BlockWriter:
    """Writes the file of a block, by way of temporary files if it has many rows. `parts` are their paths."""

    def __init__(self, database: Database, out: Path, parts: Sequence[Path]) -> None:
        self._database = database
        self._out = out
        self._parts = parts

    @staticmethod
    def parts(rows: int) -> int:
        """Return how many temporary files a block with this many rows needs."""
        return -(-rows // _MOST_ROWS) + 1 if rows > _MOST_ROWS else 0

    def write_slice(self, run: SliceFile, key: Key, number: int) -> int:
        """Write the products of a run, and return the number of rows."""
        tracked = Tracked.among(run.columns)
        prices = SqlPrices.of(self._database, run, tracked)
        rows = _OF_A_SLICE.format(
            key=sql_key(run, key),
            title=_text(run, tracked.title),
            price=_text(run, tracked.price),
            amount=prices.amount,
            unit=prices.unit,
            currency=prices.currency,
            join=prices.join,
            stock=_text(run, tracked.stock),
            seller=_text(run, tracked.seller),
        )
        values: dict[str, object] = {"files": [str(run.path)], "number": number}
        if self._parts:
            # Extract the texts once, not again for each part.
            self._copy(rows, values, self._parts[-1])
            rows, values = _PARTS, {"files": [str(self._parts[-1])]}
        return self._write(rows, values)

    def write_blocks(self, files: Sequence[Path], numbers: Sequence[int]) -> int:
        """Write the rows of these runs from other blocks, and return their number."""
        return self._write(_OF_BLOCKS, {"files": [*map(str, files)], "numbers": [*numbers]})

    def _write(self, rows: str, values: _Values) -> int:
        part = _PART.format(rows=rows)
        if not self._parts:
            return self._copy(part, {**values, "low": _LOWEST, "high": _HIGHEST}, self._out)
        edges = self._edges(rows, values)
        files = self._parts[: len(edges) + 1]
        for low, high, file in zip([_LOWEST, *edges], [*edges, _HIGHEST], files, strict=True):
            self._copy(part, {**values, "low": low, "high": high}, file)
        # DuckDB reads the files one by one and keeps their order.
        return self._copy(_PARTS, {"files": [*map(str, files)]}, self._out)

    def _edges(self, rows: str, values: _Values) -> list[str]:
        """Return the keys between parts of about the same size."""
        found = self._database.query(_SAMPLE_OF.format(rows=rows, sample=_SAMPLE), values)
        keys, parts = sorted(key for (key,) in found), len(self._parts) - 1
        return sorted({keys[len(keys) * index // parts] for index in range(1, parts)} if keys else ())

    def _copy(self, rows: str, values: _Values, out: Path) -> int:
        statement = _COPY.format(rows=rows, out=str(out).replace("'", "''"), group=_ROWS_IN_A_GROUP)
        ((count,),) = self._database.query(statement, values)
        return int(count)


def _text(run: SliceFile, column: str | None) -> str:
    name = run.sql_name(column)
    return "NULL::VARCHAR" if name == "NULL" else sql_text(name)
