"""The records of a run that its key doesn't name: duplicates, and records without a key."""

from dataclasses import dataclass

from collections_app.records.preview.engine import Database
from collections_app.records.tracking.keys import Key, hashed_keys, parts_of, sql_key
from collections_app.records.tracking.kinds import Tracked
from collections_app.records.tracking.slices import SliceFile
from collections_app.records.tracking.values import text_of

_NONE_REPEATED = "CREATE OR REPLACE TEMP TABLE repeated (key UBIGINT, records BIGINT)"
_REPEATED = """
INSERT INTO repeated
SELECT key, count(*) AS records FROM hashes WHERE key % $parts = $part GROUP BY key HAVING records > 1
"""
_DUPLICATES = """
SELECT n, named.key, {title}, records
FROM (SELECT *, {key} AS key FROM read_parquet($slice)) AS named
JOIN repeated ON repeated.key = hash(named.key)
WHERE $after IS NULL OR (named.key, n) > (SELECT ({key}, n) FROM read_parquet($slice) WHERE n = $after)
ORDER BY named.key, n
LIMIT $most
"""
_WITHOUT_KEY = """
SELECT n, NULL, {title}, 1 FROM read_parquet($slice)
WHERE {key} IS NULL AND n > coalesce($after, 0)
ORDER BY n
LIMIT $most
"""


@dataclass(frozen=True)
class Listed:
    """A record that its key doesn't name."""

    number: int
    key: str | None  # a JSON list of texts
    title: str
    records: int  # with this key


def duplicates(database: Database, of: SliceFile, key: Key, *, after: int | None, most: int) -> list[Listed]:
    """Return records whose key other records have, too, ordered by key, after the record `after`."""
    database.query(_NONE_REPEATED, {})
    with hashed_keys(database, of, key) as filled:
        for part in parts_of(filled):
            database.query(_REPEATED, part)
    statement = _DUPLICATES.format(key=sql_key(of, key), title=_title(of))
    found = _listed(database, of, statement, after, most)
    database.query("DROP TABLE repeated", {})
    return found


def without_key(database: Database, of: SliceFile, key: Key, *, after: int | None, most: int) -> list[Listed]:
    """Return records that lack a part of the key, after the record `after`."""
    statement = _WITHOUT_KEY.format(key=sql_key(of, key), title=_title(of))
    return _listed(database, of, statement, after, most)


def _title(of: SliceFile) -> str:
    return of.sql_name(Tracked.among(of.columns).title or "")


def _listed(database: Database, of: SliceFile, statement: str, after: int | None, most: int) -> list[Listed]:
    rows = database.query(statement, {"slice": str(of.path), "after": after, "most": most})
    return [
        Listed(number, key, text_of(title) if title and title.startswith('"') else title or "", records)
        for number, key, title, records in rows
    ]
