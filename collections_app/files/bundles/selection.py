"""Runs and pages that a URL selects: `runs=88-91,95&pages=90.1-3,92.7`."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.db.models import Q

from collections_app.models import Collection, FileKind, NotDownloadable, ResultFile, Run

# Limits for one ZIP, whose directory is built in memory.
MOST_RUNS = 1000
MOST_FILES = 10_000

_RUNS = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?", re.ASCII)
_PAGES = re.compile(r"(\d{1,18})\.(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
# SQLite limits how many conditions a query can have.
_CONDITIONS = 200


class InvalidSelection(Exception):
    """The URL doesn't contain a valid selection. The message says why."""


@dataclass(frozen=True)
class Selection:
    """The selected runs and pages (run, first, last), in the order of the URL."""

    runs: tuple[int, ...]
    pages: tuple[tuple[int, int, int], ...]

    @property
    def numbers(self) -> list[int]:
        """The numbers of all runs, newest first."""
        return sorted({*self.runs, *(run for run, _, _ in self.pages)}, reverse=True)


def parse(runs: Iterable[str], pages: Iterable[str]) -> Selection:
    """Return the selection. Both parameters may be repeated. Raises InvalidSelection."""
    selected = Selection(
        tuple(_numbers(_spans("runs", runs, _RUNS))),
        tuple(
            (int(run), int(first), int(last or first)) for run, first, last in _spans("pages", pages, _PAGES)
        ),
    )
    if not selected.numbers:
        raise InvalidSelection(
            "Nothing is selected. Add runs or pages, for example ?runs=88-91,95&pages=92.1-3."
        )
    if len(selected.numbers) > MOST_RUNS:
        raise _too_many_runs()
    return selected


def encode_runs(numbers: Iterable[int]) -> str:
    """Return runs as in a URL, such as `88-91,95`. The numbers are unique."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and spans[-1][-1] == number - 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ",".join("-".join(map(str, span)) for span in spans)


def runs_of(collection: Collection, selection: Selection) -> list[Run]:
    """Return the selected runs, newest first.

    Raises InvalidSelection if single pages are selected, and NotDownloadable if a run isn't ready.
    """
    if selection.pages:
        raise InvalidSelection(
            "Only entire runs can be exported in this format. Select runs instead of pages."
        )
    return collection.runs.ready_runs(selection.numbers)


def files_of(collection: Collection, selection: Selection) -> list[ResultFile]:
    """Return the selected files with their runs, the newest run first, without ZIPs.

    Raises NotDownloadable if a run isn't ready or a page doesn't exist, InvalidSelection for too many files.
    """
    runs = {run.pk: run for run in collection.runs.ready_runs(selection.numbers)}
    by_number = {run.number: run for run in runs.values()}
    complete = [by_number[number].pk for number in selection.runs]
    files = list(ResultFile.objects.filter(run__in=complete).exclude(kind=FileKind.ARCHIVE)[: MOST_FILES + 1])
    without = set(complete) - {file.run_id for file in files}
    if without and len(files) <= MOST_FILES:
        number = runs[min(without)].number
        raise NotDownloadable(f"Run {number} has no files to select. It may have been deleted.")
    files += _pages_of(
        [(by_number[run], first, last) for run, first, last in selection.pages if run not in selection.runs]
    )
    found = {file.pk: file for file in files}
    if len(found) > MOST_FILES:
        raise InvalidSelection(f"At most {MOST_FILES:,} files can be selected. Select fewer runs.")
    for file in found.values():
        file.run = runs[file.run_id]
    return sorted(found.values(), key=lambda file: (-file.run.number, file.position, file.name))


def _pages_of(wanted: list[tuple[Run, int, int]]) -> list[ResultFile]:
    if sum(last - first + 1 for _, first, last in wanted) > MOST_FILES:
        raise InvalidSelection(f"At most {MOST_FILES:,} pages can be selected. Select fewer.")
    positions: dict[Run, set[int]] = {}
    for run, first, last in wanted:
        positions.setdefault(run, set()).update(range(first, last + 1))
    found = _pages_at(list(positions.items()))
    existing = {(file.run_id, file.position) for file in found}
    for run, numbers in positions.items():
        for position in sorted(numbers):
            if (run.pk, position) not in existing:
                raise NotDownloadable(f"Run {run.number} has no page {position}.")
    return found


def _pages_at(positions: list[tuple[Run, set[int]]]) -> list[ResultFile]:
    found: list[ResultFile] = []
    for begin in range(0, len(positions), _CONDITIONS):
        some = [Q(run=run, position__in=numbers) for run, numbers in positions[begin : begin + _CONDITIONS]]
        found += ResultFile.objects.filter(reduce(or_, some), kind=FileKind.PAGE)
    return found


def _spans(name: str, texts: Iterable[str], form: re.Pattern[str]) -> Iterator[tuple[str, ...]]:
    for text in texts:
        for item in filter(None, (item.strip() for item in text.split(","))):
            match = form.fullmatch(item)
            *_, first, last = match.groups() if match else (0, 0)
            if match is None or (last is not None and int(last) < int(first)):
                raise InvalidSelection(
                    f"“{name}={item[:40]}” is invalid. Write a selection like ?runs=88-91,95&pages=92.1-3."
                )
            yield match.groups()


def _numbers(spans: Iterable[tuple[str, ...]]) -> Iterator[int]:
    numbers: set[int] = set()
    for first, last in spans:
        span = range(int(first), int(last or first) + 1)
        if len(numbers) + len(span) > MOST_RUNS:
            raise _too_many_runs()
        numbers.update(span)
    yield from sorted(numbers, reverse=True)


def _too_many_runs() -> InvalidSelection:
    return InvalidSelection(f"At most {MOST_RUNS:,} runs can be selected. Select fewer.")
