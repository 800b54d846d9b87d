"""Verify the files of runs."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from tqdm import tqdm

from collections_app.files.storage.base import describe_error
from collections_app.files.verification.verify import VerificationBusy, Verifier
from collections_app.management.arguments import (
    collection_of,
    count,
    database_problem,
    interrupted,
    run_number,
    shown,
    text,
)
from collections_app.models import NotDownloadable, Run, State
from collections_app.records.tracking.verify import TrackingVerifier
from collections_app.system.vanished import is_vanished


class Command(BaseCommand):
    """Reads stored files again and reports those that are damaged or missing."""

    help = (
        "Read the files of completed runs and compare them with the SHA-256 recorded when they were written."
        " Copies of an account's files must also be valid lists of records or ZIP files; run mirror to "
        "replace damaged copies. For files that are only at an account, read just the beginning. Name each "
        "damaged or missing file and what to do about it. Exit with 0 if all files are intact, otherwise "
        "with 1. Damaged data for comparing runs is created again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument(
            "collection",
            metavar="COLLECTION",
            type=text,
            nargs="?",
            help="the id or exact name of the collection (default: all)",
        )
        parser.add_argument(
            "runs", metavar="RUN", type=run_number, nargs="*", help="the number of a run (default: all)"
        )

    def handle(self, *args: Any, collection: str | None, runs: list[int], **options: Any) -> None:
        """Verify the runs and print the result."""
        try:
            self._verify(_wanted(collection, runs))
        except OperationalError as error:
            raise CommandError(f"{database_problem(error)} Fix the problem and run verify again.") from None
        except KeyboardInterrupt:
            raise interrupted("The results so far are stored.") from None

    def _verify(self, wanted: Iterable[Run]) -> None:
        intact = damaged = 0
        tracking = TrackingVerifier()
        # Only shown on a terminal.
        with tqdm(unit="B", unit_scale=True, disable=None, leave=False) as progress:
            for run in wanted:
                name = f"Run {run.number} of {shown(run.collection.name)}"
                progress.set_description(name)
                try:
                    problems = Verifier(run).verify(progress.update)
                except VerificationBusy as refusal:
                    problems = [str(refusal)]
                except Exception as error:
                    if is_vanished(error) and not Run.objects.filter(pk=run.pk).exists():
                        continue
                    raise
                intact, damaged = intact + (not problems), damaged + bool(problems)
                with tqdm.external_write_mode():
                    for problem in problems:
                        self.stderr.write(f"{name}: {problem}")
                    self._verify_tracking(tracking, run, name)
        self.stdout.write(f"{count(intact, 'run')} verified and intact.")
        if damaged:
            raise CommandError(
                f"{count(damaged, 'run')} with files that are damaged, missing, or could not be verified; "
                "see above."
            )

    def _verify_tracking(self, tracking: TrackingVerifier, run: Run, name: str) -> None:
        """Verify the data for comparing the run. It isn't a result, and is created again if it is damaged."""
        try:
            is_intact = tracking.verify(run)
        except OSError as error:
            self.stderr.write(f"{name}: The data for comparing it can't be read: {describe_error(error)}.")
        else:
            if not is_intact:
                self.stdout.write(
                    f"{name}: The data for comparing it was damaged or missing. It will be created again."
                )


def _wanted(collection: str | None, numbers: list[int]) -> Iterator[Run]:
    """Yield the runs to verify, oldest first. Raise CommandError if one can't be verified."""
    ready = Run.objects.filter(state=State.READY).order_by("collection", "number")
    if collection is not None:
        chosen = collection_of(collection)
        ready = ready.filter(collection=chosen)
        try:
            ready = (
                ready.filter(pk__in=[run.pk for run in chosen.runs.ready_runs(numbers)]) if numbers else ready
            )
        except NotDownloadable as problem:
            raise CommandError(str(problem)) from None
    # One query per run, because verification may take hours and a query shouldn't stay open that long.
    for key in list(ready.values_list("pk", flat=True)):
        yield from Run.objects.filter(pk=key).select_related("collection__account")
