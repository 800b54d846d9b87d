"""Read an account's list of runs page by page, without missing a run."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from collections_app.sources.upstream.runs import Listing, RemoteRun

# How many runs can leave the list between two calls without any being missed.
OVERLAP = 10
# How many pages of runs with the same time to read before leaving the rest for later.
MAX_PAGES_PER_TIME = 30
# After this many repetitions of a page in a row, assume the end of the list.
_MAX_REPETITIONS = 3

FetchPage = Callable[[int], Listing]  # returns the page of the list that begins at an offset


@dataclass(frozen=True)
class Unreadable:
    """A run that can't be read, with the time of a neighboring run in the list."""

    number: int | None
    reason: str
    near: datetime | None

    @property
    def key(self) -> int | datetime | None:
        """The identity of the run: its number, or else its position in the list."""
        return self.near if self.number is None else self.number


class RunListPart:
    """A part of the account's list, read from newest to oldest, one page at a time.

    The list is sorted by time. The account decides the order of runs with the same time, and may change it
    between calls. So pages overlap. If the runs of one time don't fit on a page, their positions are counted:
    if there are more positions than runs, some runs were missed, and those pages are read again.
    """

    def __init__(self, fetch: FetchPage, skip: int = 0) -> None:
        self.runs: dict[int, RemoteRun] = {}
        self.numbers: set[int] = set()  # of all runs that were read, including those that can't be shown
        self.unreadable: list[Unreadable] = []
        self.is_end = False
        self.begins: datetime | None = None  # None if the part begins where the list begins
        self.lowest: datetime | None = None
        self._fetch, self._begin, self._skip = fetch, skip, skip
        self._deepest = skip - 1  # where the deepest page begins,
        self._read_to = skip  # and where it ends
        self._positions: defaultdict[datetime, set[int]] = defaultdict(set)
        self._at: defaultdict[datetime, set[int]] = defaultdict(set)  # the runs with each time
        self._divided: set[datetime] = set()  # times whose runs didn't fit on a page,
        self._missed: set[datetime] = set()  # and those with runs that are still missed
        self._pages_left = MAX_PAGES_PER_TIME
        self._previous: set[int] = set()  # the runs on the previous page,
        self._repetitions = 0  # and how many pages in a row had the same runs

    @property
    def is_stuck(self) -> bool:
        """Whether reading has stopped because too many runs have the same time."""
        return self._pages_left <= 0

    @property
    def doubtful(self) -> set[datetime]:
        """The times for which some runs weren't read."""
        unread = self._divided & {self.lowest} if self.is_stuck and not self.is_end else set()
        return self._missed | unread

    def has_all_of(self, moment: datetime | None) -> bool:
        """Return whether every run of that time was read. None means the beginning of the list."""
        if moment is None or moment in self.doubtful:
            return moment is None and self._begin == 0
        begins = self.begins is None or moment < self.begins
        return begins and (self.is_end or self.is_past(moment))

    def is_past(self, moment: datetime) -> bool:
        """Return whether the part extends to runs older than that time."""
        return self.lowest is not None and self.lowest < moment

    @property
    def next_begin(self) -> int:
        """The position at which the next part should begin.

        It repeats the runs with the lowest time, because this part may lack some of them.
        """
        positions = self._positions.get(self.lowest) if self.lowest and not self.is_stuck else None
        return max(self._begin, min(positions) - OVERLAP) if positions else self._skip

    def read_page(self) -> None:
        """Read the next page."""
        page = self._fetch(self._skip)
        moments = [run.created_at for run in page.runs]
        if not self.runs and self._begin and moments:
            self.begins = moments[0]
        is_within = self._is_within(moments)
        self._pages_left -= is_within
        is_end = self._is_end(page, is_within=is_within)
        self._add(page)
        again = self._to_read_again(moments[-1] if moments and not is_end else None)
        self.is_end = is_end and again is None
        self._deepest = max(self._deepest, self._skip)
        self._read_to = max(self._read_to, self._skip + len(page.entries))
        self._skip = self._skip + max(1, len(page.entries) - OVERLAP) if again is None else again

    def _is_within(self, moments: Sequence[datetime]) -> bool:
        """Return whether a page continues the runs of a time from the previous page."""
        if not moments:
            return False
        if self.runs and self._skip > self._deepest and moments[0] == self.lowest:
            self._divided.add(moments[0])
        return moments[0] in self._divided

    def _is_end(self, page: Listing, *, is_within: bool) -> bool:
        # A short page isn't the end: a server may return fewer runs than requested.
        if self._skip <= self._deepest:
            return False
        numbers = {entry.number for entry in page.entries if entry.number is not None}
        self._repetitions = self._repetitions + 1 if numbers == self._previous else 0
        self._previous = numbers
        # If nothing on a page can be read, there may be readable runs after it.
        if numbers - self.numbers or (page.entries and not numbers):
            return False
        is_at_end = self._skip + len(page.entries) <= self._read_to
        # Otherwise, a full page of new runs has arrived, or the server always sends the same page.
        return is_at_end or (self._repetitions >= _MAX_REPETITIONS and not is_within)

    def _add(self, page: Listing) -> None:
        near = page.runs[0].created_at if page.runs else self.lowest
        for position, entry in enumerate(page.entries, self._skip):
            if isinstance(entry, RemoteRun):
                near = entry.created_at
                self.runs[entry.number] = entry
                self._positions[near].add(position)
                self._at[near].add(entry.number)
                self.lowest = min(self.lowest or near, near)
            elif position >= self._read_to if entry.number is None else entry.number not in self.numbers:
                self.unreadable.append(Unreadable(entry.number, entry.reason, near))
            if entry.number is not None:
                self.numbers.add(entry.number)

    def _to_read_again(self, last: datetime | None) -> int | None:
        """Return the position at which to look again for missed runs newer than `last`, or None.

        If `last` is None, look in the entire list.
        """
        passed = {moment for moment in self._divided if last is None or last < moment}
        missed = {moment for moment in passed if len(self._positions[moment]) > len(self._at[moment])}
        self._missed = (self._missed - passed) | missed
        if self.is_stuck or not missed:
            return None
        # Runs that arrive or leave in the meantime shift the positions.
        return min(self._positions.pop(max(missed)))
