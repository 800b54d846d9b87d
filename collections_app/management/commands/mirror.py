"""`mirror`: copy the results of an account's collection into our own storage."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from django.template.defaultfilters import filesizeformat
from tqdm import tqdm

from collections_app.management.arguments import (
    collection_of,
    count,
    database_problem,
    interrupted,
    run_number,
    shown,
    text,
)
from collections_app.models import Collection, Run
from collections_app.runs.lease import RunIsBeingWritten, WriterLost
from collections_app.runs.mirror import mirror_run
from collections_app.sources import SourceBusy, SourceUnavailable, rows
from collections_app.sources.account import AccountSource

GO_ON = "What was copied stays; call mirror again to go on."
# How long the account may take for a part of its list.
LIST_SECONDS = 60.0
# Stop after this many runs in a row for which the account didn't answer, or at once if it asks us to wait.
_PATIENCE = 3


class Command(BaseCommand):
    """Copies what isn't copied yet."""

    help = (
        "Copy the results of a collection of a MultiCartAPI account here, byte for byte, so that they stay "
        "whatever becomes of them there. First the account's whole list of runs is brought up to date; then "
        "the files of all completed runs that are not kept here yet are copied, the oldest run first, and "
        "checked. Nothing is copied twice: where it was interrupted, call it again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Describe the command line."""
        parser.add_argument(
            "collection", metavar="COLLECTION", type=text, help="the collection's id, or its name"
        )
        parser.add_argument("--run", metavar="N", type=run_number, help="copy the run of this number alone")

    def handle(self, *args: Any, run: int | None, **options: Any) -> None:
        """Copy, and say what came of it."""
        collection = collection_of(options["collection"])
        if collection.account is None:
            raise CommandError(
                f"{shown(collection.name)} is connected with no account; all of its results are here."
            )
        with _saying_what_is_wrong():
            _list_runs(collection, run)
            self._copy(collection, _to_copy(collection, run))

    def _copy(self, collection: Collection, runs: list[Run]) -> None:
        copied, size, misses, problems = 0, 0, 0, 0
        # On a terminal only.
        with tqdm(unit="B", unit_scale=True, disable=None, leave=False) as progress:

            def came(more: int) -> None:
                nonlocal size
                size += more
                progress.update(more)

            for place, run in enumerate(runs, 1):
                progress.set_description(f"Run {run.number} ({place} of {len(runs)})")
                found, missed = _copy_run(run, came)
                with tqdm.external_write_mode():
                    for problem in found:
                        self.stderr.write(f"Run {run.number}: {problem}")
                problems += bool(found)
                copied += not found
                misses = misses + missed if missed else 0
                if misses >= _PATIENCE:
                    break
        self._sum_up(collection, copied, size)
        if problems:
            raise CommandError("Not everything could be kept. Call mirror again to try the rest again.")

    def _sum_up(self, collection: Collection, copied: int, size: int) -> None:
        name = shown(collection.name)
        if copied or size:
            self.stdout.write(f"Copied {count(copied, 'run')} ({_plain(filesizeformat(size))}).")
        left = collection.runs.to_keep().count()
        if left:
            self.stdout.write(f"{count(left, 'completed run')} of {name} not kept here yet.")
        else:
            self.stdout.write(f"All completed runs of {name} are kept here.")


def _plain(size: str) -> str:
    return size.replace("\xa0", " ")


def _list_runs(collection: Collection, number: int | None) -> None:
    """Bring the rows of all runs, or of those down to the one of this number. Raises CommandError."""
    list_part: Callable[..., None] = rows.refresh
    while True:
        list_part(collection, seconds=LIST_SECONDS)
        collection.refresh_from_db()
        if collection.refresh_problem:
            raise CommandError(f"The list of runs can't be brought up to date: {collection.refresh_problem}")
        is_known = number is not None and collection.runs.filter(number=number).exists()
        if is_known or not collection.has_older_runs:
            return
        list_part = rows.load_older


def _to_copy(collection: Collection, number: int | None) -> list[Run]:
    """Return the runs that are to be copied, their rows alone. Raises CommandError."""
    runs = list(collection.runs.to_keep())
    if number is None:
        return runs
    run = collection.runs.filter(number=number).first()
    if run is None:
        raise CommandError(f"{shown(collection.name)} has no run {number}.")
    if not run.is_ready:
        raise CommandError(f"Run {number} is not completed: it is {run.get_state_display()}.")
    return [each for each in runs if each.number == number]


def _copy_run(run: Run, came: Callable[[int], object]) -> tuple[list[str], int]:
    """Copy a run. Return the problems, in sentences, and how many account failures to count."""
    # The account may have been given another key since the list was made.
    current = Run.objects.select_related("collection__account").filter(pk=run.pk).first()
    if current is None:
        return ["It was deleted."], 0
    try:
        return mirror_run(current, AccountSource(), progress=came), 0
    except (RunIsBeingWritten, WriterLost) as error:
        return [str(error)], 0
    except SourceBusy as error:
        return [str(error)], _PATIENCE
    except SourceUnavailable as error:
        return [str(error)], 1


@contextmanager
def _saying_what_is_wrong() -> Iterator[None]:
    """Raise CommandError, in one sentence, for what keeps the rest from being copied."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise CommandError(f"The results storage can't be used: {reason}. {GO_ON}") from None
    except OperationalError as error:
        raise CommandError(f"{database_problem(error)} {GO_ON}") from None
    except KeyboardInterrupt:
        raise interrupted(GO_ON) from None
