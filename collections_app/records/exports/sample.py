"""What can be said of a run's records before all are read: the columns, and the size in each format."""

import io
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from django.core.cache import caches

from collections_app.models import ResultFile, Run
from collections_app.records.formats.flatten import Columns, flat
from collections_app.records.formats.json_records import InvalidRecords, Record, read_batches
from collections_app.records.formats.records_file import ExportSpec, Format, write_records
from collections_app.records.formats.tables import NotPossible, TooWide
from collections_app.sources import ResultNotFound, SourceUnavailable, deliverable

# So much of the first file is read.
_WINDOW = 128 * 1024
_MOST_COLUMNS = 500
# Limits the records that sizes are estimated from: each record may add columns of its own.
_MOST_CELLS = 100_000
# What a file has in any case, in bytes.
_BASE = {Format.XLSX: 5500, Format.PARQUET: 500}
_CACHE = "export_samples"
_KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Sample:
    """The columns of the first records, and about how many bytes a run has in each format."""

    columns: list[str] = field(default_factory=list)
    sizes: dict[Format, int] = field(default_factory=dict)
    more_columns: int = 0  # how many more the first records have
    problem: str = ""  # why nothing is known


def is_at_hand(run: Run) -> bool:
    """Whether sample() has nobody to ask who may be slow."""
    return all(file.is_stored for file in run.record_files()[:1]) or _key(run) in caches[_CACHE]


def sample(run: Run) -> Sample:
    """Look at a run's first records; what was found is remembered, as a run's files never change."""
    found: Sample | None = caches[_CACHE].get(_key(run))
    if found is None:
        try:
            found = _look_at(run)
        except (ResultNotFound, SourceUnavailable) as error:
            return Sample(problem=str(error))
        except OSError:
            return Sample(problem="The first records could not be read just now.")
        caches[_CACHE].set(_key(run), found, _KEPT_SECONDS)
    return found


def _key(run: Run) -> str:
    return f"export-sample-{run.pk}-{run.updated_at.timestamp()}-{run.is_kept:d}"


def _look_at(run: Run) -> Sample:
    files = run.record_files()
    if not files:
        return Sample()
    records, size = _first_records(files[0])
    if not records:
        return Sample()
    columns = Columns()
    with suppress(TooWide):
        columns.look_at(map(flat, records))
    if all(file.size is not None for file in files):
        times = sum(file.size or 0 for file in files) / min(size, _WINDOW)
    else:
        times = (run.extracted or 0) / len(records)
    few = records[: _MOST_CELLS // len(columns)] if columns else records
    sizes = {each: _scaled(each, _size_of(few, each), times * len(records) / len(few)) for each in Format}
    return Sample(
        columns.names[:_MOST_COLUMNS],
        {each: size for each, size in sizes.items() if size},
        more_columns=max(len(columns.names) - _MOST_COLUMNS, 0),
    )


def _scaled(wanted: Format, size: int, times: float) -> int:
    base = min(size, _BASE.get(wanted, 0))
    return round(base + (size - base) * times)


def _size_of(records: list[Record], wanted: Format) -> int:
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, suppress(NotPossible):
        write_records(lambda: iter([records]), ExportSpec(wanted), out, folder=Path(folder))
    return len(out.getvalue())


def _first_records(file: ResultFile) -> tuple[list[Record], int]:
    """Return a file's first records, and how many bytes it has."""
    found = deliverable(file)
    records: list[Record] = []
    try:
        with found.body.open(0, min(found.size, _WINDOW)) as stream:
            for some in read_batches(_Beginning(stream)):
                records += some
    except InvalidRecords:
        pass  # The last one is cut.
    except ConnectionError:
        raise SourceUnavailable("The account broke off in the middle of the first records.") from None
    return records, found.size


class _Beginning:
    """The first bytes of a stream that may go on."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._left = _WINDOW

    def read(self, size: int, /) -> bytes:
        """Return at most `size` of them; nothing at the end."""
        data = self._stream.read(min(size, self._left))
        self._left -= len(data)
        return data
