"""Match the records of two runs by their keys, as far as their numbers and hashes.

Large runs are matched in parts, because all hashes of 5,000,000 records wouldn't fit into memory.
"""

from collections.abc import Iterator, Sequence

from collections_app.records.preview.engine import Database
from collections_app.records.tracking.keys import Key, count_records, sql_key_hash
from collections_app.records.tracking.slices import SliceFile

# The most records of both runs whose hashes are in memory, and the most that are matched at once.
_MOST_HASHES = 3_000_000
_MOST_MATCHED = 500_000

_CREATE = "CREATE OR REPLACE TEMP TABLE hashes (key UBIGINT, n UINTEGER, cells UBIGINT, is_after BOOLEAN)"
_INSERT = """
INSERT INTO hashes
SELECT key, n, cells, {is_after}
FROM (SELECT {key} AS key, n, hash({cells}) AS cells FROM read_parquet($slice))
WHERE key % {passes} = {number}
"""
_COUNT = "SELECT count(*) FILTER (NOT is_after), count(*) FILTER (is_after) FROM hashes"
# A change of an even number of duplicates may not be found, but they are never matched.
_PAIRS = """
CREATE OR REPLACE TEMP TABLE pairs AS
SELECT
    key, count(*) FILTER (NOT is_after) AS count_before, count(*) FILTER (is_after) AS count_after,
    min(n) FILTER (NOT is_after) AS n_before, min(n) FILTER (is_after) AS n_after,
    bit_xor(cells) <> 0 AS is_changed
FROM hashes WHERE (key >> 32) % {parts} = {part} GROUP BY key
"""
_DROP = "DROP TABLE hashes; DROP TABLE pairs"


class Matcher:
    """Matches the records of two runs."""

    def __init__(self, database: Database, before: SliceFile, after: SliceFile, key: Key) -> None:
        self._database = database
        self._before = before
        self._after = after
        self._key = key
        self.without_key_before = count_records(database, before)
        self.without_key = count_records(database, after)
        self._records = self.without_key_before + self.without_key

    def match(self, columns: Sequence[str]) -> Iterator[None]:
        """Match the records in parts. At each step, the table `pairs` has one row per key of a part.

        A pair is changed if any of the columns differs. Afterwards, the records without a key are counted.
        """
        passes = max(1, -(-self._records // _MOST_HASHES))
        parts = max(1, -(-self._records // passes // _MOST_MATCHED))
        for number in range(passes):
            self._hash(columns, passes, number)
            for part in range(parts):
                self._database.query(_PAIRS.format(parts=parts, part=part), {})
                yield
        self._database.query(_DROP, {})

    def _hash(self, columns: Sequence[str], passes: int, number: int) -> None:
        """Compute the hashes of the keys and cells of one pass."""
        self._database.query(_CREATE, {})
        for run, is_after in ((self._before, False), (self._after, True)):
            statement = _INSERT.format(
                is_after=is_after,
                key=sql_key_hash(run, self._key),
                cells=", ".join([*map(run.sql_name, columns), "0"]),
                passes=passes,
                number=number,
            )
            self._database.query(statement, {"slice": str(run.path)})
        ((before, after),) = self._database.query(_COUNT, {})
        self.without_key_before -= before
        self.without_key -= after
