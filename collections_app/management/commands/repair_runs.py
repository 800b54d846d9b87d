"""Clean up after interrupted writers."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from collections_app.files.names import printable
from collections_app.files.storage.base import describe_error
from collections_app.management.arguments import database_problem
from collections_app.models import Run
from collections_app.records.tracking.slice_repair import repair_slices
from collections_app.runs.repair import repair_runs


class Command(BaseCommand):
    """Fails interrupted runs and deletes files that belong to no run."""

    help = (
        "Clean up after runs that were interrupted, for example by a crash or a power failure: mark them as "
        "Failed and delete their files. You can run this command at any time; it doesn't change runs that "
        "are being written."
    )

    def handle(self, *args: Any, verbosity: int, **options: Any) -> None:
        """Repair the runs and print what was done."""
        try:
            report = repair_runs()
            report.removed_files += repair_slices()
        except OperationalError as error:
            raise CommandError(
                f"{database_problem(error)} Fix the problem and run repair_runs again."
            ) from None
        except OSError as error:
            raise CommandError(
                f"The results storage can't be used: {describe_error(error)}. Fix the problem and run "
                "repair_runs again."
            ) from None
        for run in report.failed_runs:
            self.stdout.write(f"Run {_named(run)} was interrupted. It is now Failed.")
        if report.removed_files:
            self.stdout.write(f"Deleted files that belong to no run: {len(report.removed_files)}.")
        if report.removed_folders:
            self.stdout.write(f"Deleted empty folders: {len(report.removed_folders)}.")
        if report.living_runs:
            self.stdout.write(
                "Not repaired, because they are being written or were interrupted less than a minute ago: "
                f"{', '.join(f'run {_named(run)}' for run in report.living_runs)}. "
                "If they were interrupted, run repair_runs again in a minute."
            )
        elif not report.was_needed and verbosity:
            self.stdout.write("Nothing to repair.")


def _named(run: Run) -> str:
    return f"{run.number} of {printable(run.collection.name)}"
