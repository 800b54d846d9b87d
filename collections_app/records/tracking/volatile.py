"""Find the columns that change in nearly every run, such as the position in a list.

Their changes would hide all others.
"""

import re
from collections.abc import Sequence

from collections_app.records.preview.engine import Database
from collections_app.records.tracking.differences import Differences
from collections_app.records.tracking.keys import Key, count_records, sql_key_hash
from collections_app.records.tracking.slices import SliceFile

# Without separators, in lower case.
_NAMES = """
    position rank listposition searchposition index itemindex page pagenumber timestamp scrapedat scrapedate
    scrapedon scrapetime scrapetimestamp crawledat crawldate crawltime fetchedat retrievedat extractedat
    extractiondate collectedat requestedat checkedat lastchecked lastseen seenat requestid sessionid runid
    jobid
"""
_SEPARATORS = re.compile(r"[^a-z0-9]+")
# Other columns are volatile if they change in more than this share of the matched records.
_SHARE = 0.9
_LEAST_RECORDS = 20
# The records that are looked at: from several parts of the later run.
_MOST_RECORDS = 5000
_WINDOWS = 5

_SAMPLE = """
CREATE OR REPLACE TEMP TABLE sample AS
SELECT min(before.n) AS n_before, chosen.n AS n_after
FROM (SELECT {key_before} AS key, n FROM read_parquet($before)) AS before
JOIN (
    SELECT {key_after} AS key, min(n) AS n FROM read_parquet($after) WHERE {windows} GROUP BY key
) AS chosen USING (key)
GROUP BY chosen.n
"""


def is_volatile_by_name(column: str) -> bool:
    """Whether a column has the name of one that changes in every run."""
    return _SEPARATORS.sub("", column.rpartition(".")[2].lower()) in _NAMES.split()


def volatile_columns(differences: Differences, columns: Sequence[str], sample: int) -> list[str]:
    """Return the columns that are volatile by their names, or by the `sample` pairs in the table `sample`."""
    others = [column for column in columns if not is_volatile_by_name(column)]
    counts = differences.count(others, "sample") if sample >= _LEAST_RECORDS else [0] * len(others)
    stable = {column for column, count in zip(others, counts, strict=True) if count <= _SHARE * sample}
    return [column for column in columns if column not in stable]


def create_sample(database: Database, before: SliceFile, after: SliceFile, key: Key) -> int:
    """Create the table `sample` with pairs of records, and return how many there are."""
    statement = _SAMPLE.format(
        key_before=sql_key_hash(before, key),
        key_after=sql_key_hash(after, key),
        windows=_windows(count_records(database, after)),
    )
    database.query(statement, {"before": str(before.path), "after": str(after.path)})
    ((count,),) = database.query("SELECT count(*) FROM sample", {})
    return int(count)


def _windows(records: int) -> str:
    """Return an SQL condition for some records from all parts of a run."""
    if records <= _MOST_RECORDS:
        return "true"
    starts = (records * number // _WINDOWS for number in range(_WINDOWS))
    return " OR ".join(f"n BETWEEN {start + 1} AND {start + _MOST_RECORDS // _WINDOWS}" for start in starts)
