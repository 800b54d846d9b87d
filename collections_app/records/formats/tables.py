"""A table of records on its way into a file."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

# Tables have limits, as a few hundred KB of records can produce a table of any size.
MOST_COLUMNS = 5_000
MOST_CELLS = 50_000_000
# The total length of all column names: a long key adds its length to every key nested in it.
LONGEST_NAMES = 1_000_000

_INSTEAD = "Choose the columns you need, or export JSON Lines."


class NotPossible(Exception):
    """The records can't be had in this form; the message says why, in plain English."""


class TooWide(NotPossible):
    """The records have too many columns, too long names, or are nested too deeply for a table."""


def check_columns(columns: int, characters: int) -> None:
    """Raise TooWide if a table would have too many columns, or too many characters in their names."""
    if columns > MOST_COLUMNS:
        raise TooWide(f"This run has more than {MOST_COLUMNS:,} columns. {_INSTEAD}")
    if characters > LONGEST_NAMES:
        raise TooWide(f"This run's column names total more than {LONGEST_NAMES:,} characters. {_INSTEAD}")


def check_cells(columns: int, rows: int) -> None:
    """Raise NotPossible if a table would have too many cells."""
    if columns * rows > MOST_CELLS:
        raise NotPossible(f"This table would have more than {MOST_CELLS:,} cells. {_INSTEAD}")


class UnknownColumn(NotPossible):
    """A column was chosen that no record has."""


@dataclass(frozen=True)
class Table:
    """The names of columns, and what gives the rows from the first one on: many at once, by columns."""

    names: tuple[str, ...]
    batches: Callable[[], Iterable[list[list[Any]]]]
