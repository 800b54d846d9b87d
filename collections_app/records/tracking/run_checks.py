"""Check keys against the newest runs of a collection."""

from collections.abc import Collection as Names
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from collections_app.models import Collection, Run, Slice
from collections_app.records.preview.engine import FACTS, Database, open_database
from collections_app.records.tracking.candidates import Candidate, candidates
from collections_app.records.tracking.keys import Key, KeyCheck, check_key
from collections_app.records.tracking.settings import newest_slices, suggested_key
from collections_app.records.tracking.slices import SliceFile
from collections_app.records.tracking.stored_slices import existing_slice

# How many runs keys are checked against, and how many of their records.
_RUNS = 3
MOST_CHECKED = 500_000
_SECONDS = 10.0


@dataclass(frozen=True)
class RunCheck:
    """How well a key names the products of a run. `records` are all of the run's records."""

    run: Run
    check: KeyCheck
    records: int

    @property
    def is_sample(self) -> bool:
        """Whether only the run's first records were checked."""
        return self.check.records < self.records


class NewestRuns:
    """The newest runs of a collection that have slices.

    Methods raise SliceUnavailable, TooManyQueries, QueryTimeout, UnreadableFile and OSError.
    """

    def __init__(self, collection: Collection) -> None:
        self._slices = newest_slices(collection, _RUNS)

    @property
    def newest(self) -> Slice | None:
        """The slice of the newest of these runs."""
        return self._slices[0] if self._slices else None

    def check(self, key: Key) -> Sequence[RunCheck]:
        """Check a key against each run."""
        return list(self._checks(key))

    def _checks(self, key: Key) -> Iterator[RunCheck]:
        for each in self._slices:
            file = existing_slice(each.run)
            if file is not None:  # it wasn't deleted meanwhile
                with _opened(file) as database:
                    yield RunCheck(each.run, check_key(database, file, key, most=MOST_CHECKED), each.records)

    def candidates(self, volatile: Names[str]) -> list[Candidate]:
        """Return possible keys of the newest run."""
        file = existing_slice(self.newest.run) if self.newest else None
        if file is None:
            return []
        with _opened(file) as database:
            return candidates(database, file, volatile)

    def suggestion(self) -> Key:
        """Return the key that the site suggests, or () for none."""
        return suggested_key(self._slices)


@contextmanager
def _opened(file: SliceFile) -> Iterator[Database]:
    # Searches don't wait for checks.
    with open_database(file.path, seconds=_SECONDS, semaphore=FACTS) as database:
        yield database
