"""A table of records on its way into a file."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


class NotPossible(Exception):
    """The records can't be had in this form; the message says why, in plain English."""


class UnknownColumn(NotPossible):
    """A column was chosen that no record has."""


@dataclass(frozen=True)
class Table:
    """The names of columns, and what gives the rows from the first one on: many at once, by columns."""

    names: tuple[str, ...]
    batches: Callable[[], Iterable[list[list[Any]]]]
