"""A table of records that is written to a file, and its limits."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

# A few hundred KB of records can produce a table of any size.
MOST_COLUMNS = 5_000
MOST_CELLS = 50_000_000
# The total length of all column names: a long key adds its length to every key nested in it.
LONGEST_NAMES = 1_000_000

_INSTEAD = "Choose the columns you need, or export JSON Lines."


class ConversionError(Exception):
    """The records can't be converted to this format. The message is for users."""


class TooWide(ConversionError):
    """The records have too many columns, too long names, or are nested too deeply for a table."""


def check_columns(columns: int, characters: int) -> None:
    """Raise TooWide if a table would have too many columns, or too many characters in their names."""
    if columns > MOST_COLUMNS:
        raise TooWide(f"These records have more than {MOST_COLUMNS:,} columns. {_INSTEAD}")
    if characters > LONGEST_NAMES:
        raise TooWide(f"The column names total more than {LONGEST_NAMES:,} characters. {_INSTEAD}")


def check_cells(columns: int, rows: int) -> None:
    """Raise ConversionError if a table would have too many cells."""
    if columns * rows > MOST_CELLS:
        raise ConversionError(f"This table would have more than {MOST_CELLS:,} cells. {_INSTEAD}")


class UnknownColumn(ConversionError):
    """No record has a column that was chosen."""


@dataclass(frozen=True)
class Table:
    """The names of the columns, and a function that yields the rows in batches, each as a list of columns."""

    names: tuple[str, ...]
    batches: Callable[[], Iterable[list[list[Any]]]]
