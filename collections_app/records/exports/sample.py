"""Estimate the columns and the size of a run's exports from its first records."""

import io
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.core.cache import caches

from collections_app.models import ResultFile, Run
from collections_app.records.formats.export_formats import ExportSpec, Format, write_records
from collections_app.records.formats.flatten import Columns, flatten
from collections_app.records.formats.json_records import InvalidRecords, Record, read_batches
from collections_app.records.formats.tables import ConversionError, TooWide
from collections_app.records.reading import open_file
from collections_app.sources import ResultNotFound, SourceUnavailable

# How many bytes of the first file are read.
_WINDOW = 128 * 1024
_MOST_COLUMNS = 500
# Sizes are estimated from at most this many cells, because each record may add columns.
_MOST_CELLS = 100_000
# The size of a file without records, in bytes.
_BASE = {Format.XLSX: 5500, Format.PARQUET: 500}
_CACHE = "export_samples"
_KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Sample:
    """The columns of the first records, and the estimated size of an export in each format."""

    columns: list[str] = field(default_factory=list)
    sizes: dict[Format, int] = field(default_factory=dict)
    more_columns: int = 0  # how many other columns the first records have
    problem: str = ""  # why nothing is known


def is_at_hand(run: Run) -> bool:
    """Whether sample() is fast, because it needs no request to an account."""
    return all(file.is_stored for file in run.record_files()[:1]) or _key(run) in caches[_CACHE]


def sample(run: Run) -> Sample:
    """Return a sample of a run's first records. It is cached, because the files of a run never change."""
    found: Sample | None = caches[_CACHE].get(_key(run))
    if found is None:
        try:
            found = _sample(run)
        except (ResultNotFound, SourceUnavailable) as error:
            return Sample(problem=str(error))
        except OSError:
            return Sample(problem="The first records can't be read. Try again.")
        caches[_CACHE].set(_key(run), found, _KEPT_SECONDS)
    return found


def _key(run: Run) -> str:
    return f"export-sample-{run.pk}-{run.updated_at.timestamp()}-{run.is_kept:d}"


def _sample(run: Run) -> Sample:
    files = run.record_files()
    if not files:
        return Sample()
    records, size = _first_records(files[0])
    if not records:
        return Sample()
    columns = Columns()
    with suppress(TooWide):
        columns.add(map(flatten, records))
    if all(file.size is not None for file in files):
        factor = sum(file.size or 0 for file in files) / min(size, _WINDOW)
    else:
        factor = (run.extracted or 0) / len(records)
    few = records[: _MOST_CELLS // len(columns)] if columns else records
    sizes = {each: _scaled(each, _size_of(few, each), factor * len(records) / len(few)) for each in Format}
    return Sample(
        columns.names[:_MOST_COLUMNS],
        {each: size for each, size in sizes.items() if size},
        more_columns=max(len(columns.names) - _MOST_COLUMNS, 0),
    )


def _scaled(wanted: Format, size: int, factor: float) -> int:
    base = min(size, _BASE.get(wanted, 0))
    return round(base + (size - base) * factor)


def _size_of(records: list[Record], wanted: Format) -> int:
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, suppress(ConversionError):
        write_records(lambda: iter([records]), ExportSpec(wanted), out, folder=Path(folder))
    return len(out.getvalue())


def _first_records(file: ResultFile) -> tuple[list[Record], int]:
    """Return the first records of a file, and its size."""
    records: list[Record] = []
    stream, size = open_file(file, _WINDOW)
    with stream, suppress(InvalidRecords):  # the last record is incomplete
        for some in read_batches(stream):
            records += some
    return records, size
