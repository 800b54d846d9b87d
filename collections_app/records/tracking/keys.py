"""The columns that name a product, such as its ASIN."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from collections_app.records.preview.engine import Database
from collections_app.records.tracking.slice_lines import LONGEST_VALUE
from collections_app.records.tracking.slices import SliceFile

# The columns that usually name a product, best first, and those that are part of its name if they exist.
NAMES = ("asin", "sku", "product_id", "id", "url")
WITH = ("postcode", "store")
# A key must be filled in and unique in this share of the records.
LEAST_SHARE = 0.99
# How many keys are grouped at once, so that they fit into memory.
MOST_GROUPED = 1_500_000

Key = tuple[str, ...]

_RECORDS = "SELECT count(*) FROM read_parquet($slice)"
_HASH = """
CREATE OR REPLACE TEMP TABLE hashes AS
SELECT hash({key}) AS key FROM {source} WHERE {key} IS NOT NULL
"""
_SLICE = "read_parquet($slice)"
_SAMPLE = "(SELECT {columns} FROM read_parquet($slice) LIMIT {most})"
_UNIQUE = """
SELECT count(*) FROM (SELECT 1 FROM hashes WHERE key % $parts = $part GROUP BY key HAVING count(*) = 1)
"""


@dataclass(frozen=True)
class KeyCheck:
    """How well a key names the products of a run, in numbers of records."""

    records: int
    filled: int  # with a value in each column of the key
    unique: int  # whose key no other record has

    @property
    def is_reliable(self) -> bool:
        """Whether the key is filled in and unique in nearly all records."""
        return self.unique > 0 and self.unique >= LEAST_SHARE * self.records

    @property
    def without_key(self) -> int:
        """The number of records that lack a part of the key."""
        return self.records - self.filled

    @property
    def duplicates(self) -> int:
        """The number of records whose key other records have, too."""
        return self.filled - self.unique


def check_key(database: Database, of: SliceFile, key: Key, *, most: int | None = None) -> KeyCheck:
    """Return how well a key names the products of a run, or of its first `most` records."""
    records = count_records(database, of)
    checked = records if most is None else min(records, most)
    with hashed_keys(database, of, key, most=None if checked == records else most) as filled:
        counts = [database.query(_UNIQUE, part)[0][0] for part in parts_of(filled)]
    return KeyCheck(checked, filled, sum(counts))


def count_records(database: Database, of: SliceFile) -> int:
    """Return the number of a run's records."""
    ((records,),) = database.query(_RECORDS, {"slice": str(of.path)})
    return int(records)


@contextmanager
def hashed_keys(database: Database, of: SliceFile, key: Key, *, most: int | None = None) -> Iterator[int]:
    """Create the temporary table `hashes` with the hash of each key, and yield how many there are."""
    names = ", ".join(["n", *(of.sql_name(column) for column in key if column in of.columns)])
    source = _SLICE if most is None else _SAMPLE.format(columns=names, most=most)
    ((filled,),) = database.query(_HASH.format(key=sql_key(of, key), source=source), {"slice": str(of.path)})
    yield int(filled)
    # Databases are used again. After an error, they are closed.
    database.query("DROP TABLE hashes", {})


def parts_of(keys: int) -> Iterator[dict[str, int]]:
    """Yield the parameters of statements that group so many keys in parts."""
    parts = max(1, -(-keys // MOST_GROUPED))
    yield from ({"parts": parts, "part": part} for part in range(parts))


def suggest_key(database: Database, of: SliceFile) -> Key | None:
    """Return the key of a run's records, or None if no column is filled in and unique often enough."""
    return next((key for key in usual_keys(of) if check_key(database, of, key).is_reliable), None)


def usual_keys(of: SliceFile) -> Iterator[Key]:
    """Yield the keys that a run's records may have by the names of their columns, best first."""
    named = {column.lower(): column for column in reversed(of.columns)}
    more = tuple(named[name] for name in WITH if name in named)
    for name in NAMES:
        if name in named:
            yield from dict.fromkeys([(named[name],), (named[name], *more)])


def sql_key(of: SliceFile, key: Key, table: str = "") -> str:
    """Return an SQL expression for a record's key: a JSON list of texts, or NULL if a part is missing."""
    parts = [_part(of.sql_name(column, table)) for column in key]
    missing = " OR ".join(f"({part}) IS NULL" for part in parts)
    return f"CASE WHEN {missing} THEN NULL ELSE to_json([{', '.join(parts)}])::VARCHAR END"


def sql_key_hash(of: SliceFile, key: Key, table: str = "") -> str:
    """Return an SQL expression for the hash of a record's key, or NULL if a part is missing.

    Hashes differ between versions of DuckDB. Use them only while a database is open.
    """
    parts = [_part(of.sql_name(column, table)) for column in key]
    missing = " OR ".join(f"({part}) IS NULL" for part in parts)
    return f"CASE WHEN {missing} THEN NULL ELSE hash({', '.join(parts)}) END"


def sql_text(column: str) -> str:
    """Return an SQL expression for the text of a cell: of a JSON string, or the JSON of other values."""
    # A value that was cut isn't JSON. strlen() counts bytes, which is faster.
    is_cut = f"strlen({column}) > {LONGEST_VALUE} AND length({column}) > {LONGEST_VALUE}"
    return f"CASE WHEN {is_cut} THEN {column} ELSE json_extract_string({column}, '$') END"


# The characters that str.strip() removes. DuckDB's trim() leaves tabs and line breaks.
_SPACES = r"[\s\v\x1c-\x1f\x85\p{Z}]+"


def _part(column: str) -> str:
    return f"nullif(regexp_replace({sql_text(column)}, '^{_SPACES}|{_SPACES}$', '', 'g'), '')"


def texts_of(key: str) -> Sequence[str]:
    """Return the texts of a key that sql_key() returned."""
    texts: list[str] = json.loads(key)
    return texts


def key_of_texts(texts: Iterable[str]) -> str:
    """Return the key with these texts, as sql_key() writes it."""
    return _ESCAPE.sub(_as_escaped_in_sql, json.dumps(list(texts), ensure_ascii=False, separators=(",", ":")))


_ESCAPE = re.compile(r"\\(?:u[0-9a-f]{4}|.)")


def _as_escaped_in_sql(escape: re.Match[str]) -> str:
    """Write the hexadecimal digits of an escape in upper case, as DuckDB does."""
    return escape[0][:2] + escape[0][2:].upper()
