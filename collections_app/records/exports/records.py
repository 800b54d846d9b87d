"""All records of a run, wherever its files are."""

from collections.abc import Iterator

from collections_app.models import Run
from collections_app.records.formats.json_records import InvalidRecords, Record, read_batches
from collections_app.sources import SourceUnavailable, deliverable


def read(run: Run) -> Iterator[list[Record]]:
    """Yield the run's records from the first one on, many at once.

    Raises ResultNotFound, SourceUnavailable (also where a file is damaged, or breaks off), SourceTimeout.
    """
    for file in run.record_files():
        found = deliverable(file)
        try:
            with found.body.open(0, found.size) as stream:
                yield from read_batches(stream)
        except InvalidRecords as error:
            raise SourceUnavailable(f"“{file.name}” is damaged: {error}.") from None
        except ConnectionError:
            raise SourceUnavailable(
                f"The account broke off in the middle of “{file.name}”. Try again."
            ) from None
