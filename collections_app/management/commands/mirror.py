"""Copy the results of an account's collection to our storage."""

from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat
from tqdm import tqdm

from collections_app.management.arguments import (
    collection_of,
    copy_errors,
    count,
    run_number,
    shown,
    text,
)
from collections_app.models import Collection, NotConnected, Run
from collections_app.models.keeping import runs_to_copy
from collections_app.runs.lease import LeaseLost, RunIsBeingWritten
from collections_app.runs.mirror import mirror_run
from collections_app.sources import SourceBusy, SourceUnavailable, sync
from collections_app.sources.account import AccountSource

# The time limit for one part of the account's list.
LIST_SECONDS = 60.0
# Stop after this many consecutive failures of the account, or at once if it asks us to wait.
_MOST_FAILURES = 3


class Command(BaseCommand):
    """Copies runs that aren't kept yet."""

    help = (
        "Copy the results of a MultiCartAPI account's collection to this site, so that they remain available "
        "if the account deletes them. First, update the list of runs. Then copy and verify the files of all "
        "completed runs that aren't kept yet, oldest first. Nothing is copied twice: after an interruption, "
        "run the command again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument(
            "collection", metavar="COLLECTION", type=text, help="the id or exact name of the collection"
        )
        parser.add_argument("--run", metavar="N", type=run_number, help="copy only the run with this number")

    def handle(self, *args: Any, run: int | None, **options: Any) -> None:
        """Copy the runs and print the result."""
        collection = collection_of(options["collection"])
        if collection.account is None:
            raise CommandError(
                f"{shown(collection.name)} isn't connected to an account. Its results are stored on this "
                "site."
            )
        with copy_errors("mirror"):
            _list_runs(collection, run)
            self._copy(collection, _to_copy(collection, run))

    def _copy(self, collection: Collection, runs: list[Run]) -> None:
        copied, size, failures, problems = 0, 0, 0, 0
        # Only shown on a terminal.
        with tqdm(unit="B", unit_scale=True, disable=None, leave=False) as progress:

            def count_bytes(more: int) -> None:
                nonlocal size
                size += more
                progress.update(more)

            for index, run in enumerate(runs, 1):
                progress.set_description(f"Run {run.number} ({index} of {len(runs)})")
                found, failed = _copy_run(run, count_bytes)
                with tqdm.external_write_mode():
                    for problem in found:
                        self.stderr.write(f"Run {run.number}: {problem}")
                problems += bool(found)
                copied += not found
                failures = failures + failed if failed else 0
                if failures >= _MOST_FAILURES:
                    break
        self._sum_up(collection, copied, size)
        if problems:
            raise CommandError("Some files could not be copied. To try again, run mirror again.")

    def _sum_up(self, collection: Collection, copied: int, size: int) -> None:
        name = shown(collection.name)
        if copied or size:
            self.stdout.write(f"Copied {count(copied, 'run')} ({_plain(filesizeformat(size))}).")
        left = runs_to_copy(collection).count()
        if left:
            self.stdout.write(f"{count(left, 'completed run')} of {name} still to copy.")
        elif collection.runs.to_keep().exists():
            self.stdout.write(f"All runs of {name} that its retention keeps are copied.")
        else:
            self.stdout.write(f"All completed runs of {name} are kept.")


def _plain(size: str) -> str:
    return size.replace("\xa0", " ")


def _list_runs(collection: Collection, number: int | None) -> None:
    """List all runs, or those down to this number. Raise CommandError if the account fails."""
    list_part: Callable[..., None] = sync.refresh
    while True:
        list_part(collection, seconds=LIST_SECONDS)
        collection.refresh_from_db()
        if collection.refresh_problem:
            raise CommandError(f"The list of runs can't be updated: {collection.refresh_problem}")
        if _is_known(collection, number):
            return
        if not collection.has_older_runs:
            break
        list_part = sync.load_older
    _find_added_runs(collection, number)


def _find_added_runs(collection: Collection, number: int | None) -> None:
    """Look for runs that the account has added among the known ones."""
    collection.reread_from = 0
    try:
        while not (sync.reread(collection, seconds=LIST_SECONDS) or _is_known(collection, number)):
            pass
    except (NotConnected, SourceUnavailable) as error:
        raise CommandError(f"The list of runs can't be updated: {error}") from None


def _is_known(collection: Collection, number: int | None) -> bool:
    return number is not None and collection.runs.filter(number=number).exists()


def _to_copy(collection: Collection, number: int | None) -> list[Run]:
    """Return the runs to copy. Raise CommandError if the run with this number can't be copied."""
    if number is None:
        return list(runs_to_copy(collection))
    # A run that is named is copied even if the collection's retention won't keep it for long.
    run = collection.runs.filter(number=number).first()
    if run is None:
        raise CommandError(f"{shown(collection.name)} has no run {number}.")
    if not run.is_ready:
        raise CommandError(f"Run {number} can't be copied because its status is {run.status.label}.")
    return list(collection.runs.to_keep().filter(number=number))


def _copy_run(run: Run, progress: Callable[[int], object]) -> tuple[list[str], int]:
    """Copy a run. Return its problems, and how many account failures to count."""
    # The account's key may have changed since the runs were listed.
    current = Run.objects.select_related("collection__account").filter(pk=run.pk).first()
    if current is None:
        return ["It was deleted."], 0
    try:
        return mirror_run(current, AccountSource(), progress=progress), 0
    except (RunIsBeingWritten, LeaseLost) as error:
        return [str(error)], 0
    except SourceBusy as error:
        return [str(error)], _MOST_FAILURES
    except SourceUnavailable as error:
        return [str(error)], 1
