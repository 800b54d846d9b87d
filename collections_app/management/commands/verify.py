"""`verify`: read the files of runs again."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from tqdm import tqdm

from collections_app.files.verification.verify import BeingVerified, Verifier
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
from collections_app.system.vanished import is_vanished


class Command(BaseCommand):
    """Reads files again, and says which are not what they should be."""

    help = (
        "Read the files of completed runs and compare them with the SHA-256 recorded when they were written. "
        "Copies of an account's files must also be valid lists of records or ZIPs; run mirror to replace "
        "damaged copies. For files that are only at an account, read just the beginning. Name each damaged "
        "or missing file and what to do about it. Exit with 0 if all files are intact, or with 1 if not."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Describe the command line."""
        parser.add_argument(
            "collection",
            metavar="COLLECTION",
            type=text,
            nargs="?",
            help="the collection's id, or its name; by default all",
        )
        parser.add_argument(
            "runs", metavar="RUN", type=run_number, nargs="*", help="numbers of its runs; by default all"
        )

    def handle(self, *args: Any, collection: str | None, runs: list[int], **options: Any) -> None:
        """Verify, and say what came of it."""
        try:
            self._verify(_wanted(collection, runs))
        except OperationalError as error:
            raise CommandError(f"{database_problem(error)} Verify again once it can.") from None
        except KeyboardInterrupt:
            raise interrupted("What was verified so far is noted.") from None

    def _verify(self, wanted: Iterable[Run]) -> None:
        whole = damaged = 0
        # On a terminal only.
        with tqdm(unit="B", unit_scale=True, disable=None, leave=False) as progress:
            for run in wanted:
                name = f"Run {run.number} of {shown(run.collection.name)}"
                progress.set_description(name)
                try:
                    problems = Verifier(run).verify(progress.update)
                except BeingVerified as refusal:
                    problems = [str(refusal)]
                except Exception as error:
                    if is_vanished(error) and not Run.objects.filter(pk=run.pk).exists():
                        continue
                    raise
                whole, damaged = whole + (not problems), damaged + bool(problems)
                with tqdm.external_write_mode():
                    for problem in problems:
                        self.stderr.write(f"{name}: {problem}")
        self.stdout.write(f"{count(whole, 'run')} verified and whole.")
        if damaged:
            raise CommandError(
                f"In {count(damaged, 'run')} files are damaged, missing, or could not be verified; see above."
            )


def _wanted(collection: str | None, numbers: list[int]) -> Iterator[Run]:
    """Return the runs that are to be verified, the oldest first. Raises CommandError."""
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
    # Read one by one: it may take hours, and no query stays open that long.
    for key in list(ready.values_list("pk", flat=True)):
        yield from Run.objects.filter(pk=key).select_related("collection__account")
