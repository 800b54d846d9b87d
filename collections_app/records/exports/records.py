"""Read all records of a run."""

from collections.abc import Iterator

from collections_app.models import Run
from collections_app.records.formats.json_records import InvalidRecords, Record, read_batches
from collections_app.records.reading import open_file
from collections_app.sources import SourceUnavailable


def read(run: Run) -> Iterator[list[Record]]:
    """Yield the records of a run in batches.

    Raises ResultNotFound, SourceTimeout, and SourceUnavailable (even if a file is damaged or ends early).
    """
    for file in run.record_files():
        stream, _ = open_file(file)
        try:
            with stream:
                yield from read_batches(stream)
        except InvalidRecords as error:
            raise SourceUnavailable(f"“{file.name}” is damaged: {error}.") from None
