"""The columns that name a product, such as its ASIN."""

import json
from collections.abc import Sequence

from collections_app.records.preview.engine import Database
from collections_app.records.tracking.slices import LONGEST_VALUE, SliceFile

# The columns that usually name a product, best first, and those that are part of its name if they exist.
_NAMES = ("asin", "sku", "product_id", "id", "url")
_WITH = ("postcode", "store")
# A key must be filled in and unique in this share of the records.
LEAST_SHARE = 0.99

Key = tuple[str, ...]

_SHARE = "SELECT count(DISTINCT hash({key})) / greatest(count(*), 1) FROM read_parquet($slice)"


def suggest_key(database: Database, of: SliceFile) -> Key | None:
    """Return the key of a run's records, or None if no column is filled in and unique often enough."""
    named = {column.lower(): column for column in reversed(of.columns)}
    more = tuple(named[name] for name in _WITH if name in named)
    for name in _NAMES:
        if name in named:
            for key in dict.fromkeys([(named[name],), (named[name], *more)]):
                ((share,),) = database.query(_SHARE.format(key=sql_key(of, key)), {"slice": str(of.path)})
                if share >= LEAST_SHARE:
                    return key
    return None


def sql_key(of: SliceFile, key: Key, table: str = "") -> str:
    """Return an SQL expression for a record's key: a JSON list of texts, or NULL if a part is missing."""
    parts = [_part(of.sql_name(column, table)) for column in key]
    missing = " OR ".join(f"({part}) IS NULL" for part in parts)
    return f"CASE WHEN {missing} THEN NULL ELSE to_json([{', '.join(parts)}])::VARCHAR END"


def _part(column: str) -> str:
    # A value that was cut isn't JSON.
    is_cut, text = f"length({column}) > {LONGEST_VALUE}", f"json_extract_string({column}, '$')"
    return f"nullif(trim(CASE WHEN {is_cut} THEN {column} ELSE {text} END), '')"


def texts_of(key: str) -> Sequence[str]:
    """Return the texts of a key that sql_key() returned."""
    texts: list[str] = json.loads(key)
    return texts
