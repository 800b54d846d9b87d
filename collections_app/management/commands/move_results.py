"""Copy all result files from one storage to another."""

import sys
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.core.files.storage import InvalidStorageError, storages
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat
from tqdm import tqdm

from collections_app.files.storage import storage_url
from collections_app.files.storage.base import ResultsStorage
from collections_app.files.storage.storage_url import StorageAddress
from collections_app.management.arguments import copy_errors, text
from collections_app.runs.move import MoveReport, copy_all, total_size

_FOLDER = "folder"
_STDIN = "-"


class Command(BaseCommand):
    """Copies files that the other storage doesn't have yet."""

    help = (
        "Copy the result files to another storage while the site runs. First run move_results --to NEW, "
        "which copies from the current storage. Then set RESULTS_STORAGE_URL to NEW, restart all processes, "
        "and run move_results --from OLD, which copies the files written in the meantime. Each copy is read "
        "back and compared with the size and SHA-256 of its file. Nothing is copied twice, and nothing is "
        "deleted. Exports and the files for comparing runs aren't copied, because the site creates them "
        "again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        group = parser.add_mutually_exclusive_group(required=True)
        values = (
            'a URL as for RESULTS_STORAGE_URL, "folder" for the data folder, or "-" to read standard input'
        )
        group.add_argument("--to", metavar="URL", type=text, help=f"the storage to copy to: {values}")
        group.add_argument(
            "--from", metavar="URL", type=text, dest="origin", help=f"the storage to copy from: {values}"
        )

    def handle(self, *args: Any, to: str | None, origin: str | None, **options: Any) -> None:
        """Copy the files and print the result."""
        in_use = _parsed(settings.RESULTS_STORAGE_URL or _FOLDER)
        other = _parsed(to or origin or "")
        if other.entry == in_use.entry:
            raise CommandError(f"The site already stores its results in {in_use.name}.")
        source, target = (in_use, other) if to else (other, in_use)
        self.stdout.write(f"Copying from {source.name} to {target.name}.")
        with copy_errors("move_results"):
            report = self._copy(_opened(source), _opened(target))
        self._sum_up(report, source, target, is_before=to is not None)

    def _copy(self, source: ResultsStorage, target: ResultsStorage) -> MoveReport:
        # Only shown on a terminal.
        with tqdm(total=total_size(), unit="B", unit_scale=True, disable=None, leave=False) as bar:
            return copy_all(source, target, bar.update)

    def _sum_up(
        self, report: MoveReport, source: StorageAddress, target: StorageAddress, *, is_before: bool
    ) -> None:
        size = filesizeformat(report.copied_bytes).replace("\xa0", " ")
        self.stdout.write(f"Copied: {report.copied:,} ({size}). Already there: {report.skipped:,}.")
        for problem in report.problems:
            self.stderr.write(problem)
        if report.problems:
            raise CommandError(f"Not copied: {len(report.problems):,}. All other files are in {target.name}.")
        if is_before:
            self.stdout.write(
                f"All results are now also in {target.name}. This is a complete backup. To use the new "
                "storage, set RESULTS_STORAGE_URL to it and restart all processes. Then run move_results "
                "--from with the old storage to copy the files written in the meantime."
            )
        else:
            self.stdout.write(f"All results are in {target.name}. Nothing was deleted from {source.name}.")


def _parsed(url: str) -> StorageAddress:
    """Parse the URL of a storage. Raise CommandError if it is invalid."""
    if url == _STDIN:
        # Other users of the machine can see command-line arguments.
        url = sys.stdin.readline().strip()
    if url == _FOLDER:
        return storage_url.in_folder(Path(settings.DATA_DIR) / "results")
    try:
        return storage_url.parse(url)
    except storage_url.InvalidAddress as problem:
        raise CommandError(str(problem)) from None


def _opened(storage: StorageAddress) -> ResultsStorage:
    try:
        return cast(ResultsStorage, storages.create_storage(storage.entry))
    except InvalidStorageError as error:
        raise CommandError(str(error)) from None
