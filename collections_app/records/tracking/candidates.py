"""Which columns of a run could be its key."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from collections_app.records.column_roles import Role, columns_of
from collections_app.records.preview.engine import Database
from collections_app.records.tracking.keys import Key, KeyCheck, check_key, usual_keys
from collections_app.records.tracking.slices import SliceFile

# How many columns are checked, in how many records of a run, and how many candidates are returned.
_MOST_COLUMNS = 100
SAMPLE = 20_000
_MOST = 8
_LEAST_SHARE = 0.75

# Columns that are unique in a run, but name no product: "position", "scraped_at", "best_sellers_rank".
_NOT_A_NAME = re.compile(r"(?:.*[^a-z])?(?:position|rank|index|row|at|date|time|timestamp|count)", re.ASCII)
_OTHER_ROLES = tuple(role for role in Role if role is not Role.TITLE)


@dataclass(frozen=True)
class Candidate:
    """A key that the records of a run could have."""

    key: Key
    check: KeyCheck


def candidates(database: Database, of: SliceFile, volatile: Collection[str] = ()) -> list[Candidate]:
    """Return keys that name most products of a run, best first, by its first SAMPLE records.

    Volatile columns name no product.
    """
    usual = [key for key in usual_keys(of) if not set(key) & set(volatile)]
    others = [(column,) for column in _possible(of, volatile)]
    # One by one, because many columns at once don't fit into memory.
    checked = [
        Candidate(key, check_key(database, of, key, most=SAMPLE)) for key in dict.fromkeys([*usual, *others])
    ]
    found = [each for each in checked if each.check.unique >= _LEAST_SHARE * each.check.records]
    # Usual names come first among those that are equally unique.
    return sorted(found, key=lambda each: (not each.check.is_reliable, -each.check.unique))[:_MOST]


def _possible(of: SliceFile, volatile: Collection[str]) -> list[str]:
    named_otherwise = {column for role in _OTHER_ROLES for column in columns_of(role, of.columns)}
    return [
        column
        for column in of.columns
        if column not in volatile
        and column not in named_otherwise
        and not _NOT_A_NAME.fullmatch(column.lower())
    ][:_MOST_COLUMNS]
