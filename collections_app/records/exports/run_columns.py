"""The first two columns of an export of several runs: the number of each record's run, and its time."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC

from collections_app.models import Run
from collections_app.records.formats.export_formats import ExportSpec, Read
from collections_app.records.formats.json_records import Record
from collections_app.records.formats.tables import ConversionError

RUN, RUN_TIME = "run", "run_time"

ReadRun = Callable[[Run], Iterable[list[Record]]]

_MOST_NUMBER = 99
_SIMILAR = re.compile(r"run(?:_time)?(?:_[1-9][0-9]?)?", re.IGNORECASE)


def with_run_columns(runs: Sequence[Run], read: ReadRun, spec: ExportSpec) -> tuple[Read, ExportSpec]:
    """Return a function that yields the records of all runs with these columns first, and the spec for it.

    `read` yields the records of a run. They are read once to find names that no record has, such as `run_2`.
    Raises ConversionError if there are none, and what `read` raises.
    """
    number, time = _free_names(some for run in runs for some in read(run))

    def read_all() -> Iterator[list[Record]]:
        for run in runs:
            first = {number: run.number, time: run.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
            for some in read(run):
                yield [first | record for record in some]

    if not spec.columns:
        return read_all, spec
    chosen = (number, time, *(name for name in spec.columns if name not in {number, time}))
    return read_all, replace(spec, columns=chosen)


def _free_names(batches: Iterable[list[Record]]) -> tuple[str, str]:
    """Return the names of the two columns. A nested column has a dot in its name, so it can't have these."""
    taken: set[str] = set()
    for some in batches:
        taken.update(key.casefold() for key in set().union(*some) if _SIMILAR.fullmatch(key))
    return _free(RUN, taken), _free(RUN_TIME, taken)


def _free(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    for number in range(2, _MOST_NUMBER + 1):
        if f"{name}_{number}" not in taken:
            return f"{name}_{number}"
    raise ConversionError(
        f"The records have too many columns with names such as “{name}”. Download the ZIP instead."
    )
