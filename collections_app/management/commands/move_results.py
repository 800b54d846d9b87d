"""`move_results`: copy all result files from one storage to another."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.core.files.storage import InvalidStorageError, storages
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from django.template.defaultfilters import filesizeformat
from tqdm import tqdm

from collections_app.files.storage import address
from collections_app.files.storage.address import StorageAddress
from collections_app.files.storage.base import ResultsStorage
from collections_app.management.arguments import database_problem, interrupted, text
from collections_app.runs.move import MoveReport, copy_all, total_size

GO_ON = "What was copied stays; call move_results again to go on."
_FOLDER = "folder"
_FROM_INPUT = "-"


class Command(BaseCommand):
    """Copies what isn't at the other place yet."""

    help = (
        "Copy the result files to another storage, while the site goes on. Before you set "
        "RESULTS_STORAGE_URL: move_results --to NEW, which copies from the storage in use. Once it is set, "
        "and every process was restarted: move_results --from OLD, which copies what was written in "
        "between. Each file is compared with its size and SHA-256, and read back. Nothing is copied twice, "
        "and nothing is removed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Describe the command line."""
        way = parser.add_mutually_exclusive_group(required=True)
        what = (
            'as RESULTS_STORAGE_URL says it; "folder" for the one in the data folder; "-" to be asked for it'
        )
        way.add_argument("--to", metavar="URL", type=text, help=f"the storage to copy to: {what}")
        way.add_argument(
            "--from", metavar="URL", type=text, dest="origin", help=f"the one to copy from: {what}"
        )

    def handle(self, *args: Any, to: str | None, origin: str | None, **options: Any) -> None:
        """Copy, and say what came of it."""
        in_use = _parsed(settings.RESULTS_STORAGE_URL or _FOLDER)
        other = _parsed(to or origin or "")
        if other.entry == in_use.entry:
            raise CommandError(f"The site keeps its results in {in_use.shown} already.")
        source, target = (in_use, other) if to else (other, in_use)
        self.stdout.write(f"Copying from {source.shown} to {target.shown}.")
        with _saying_what_is_wrong():
            report = self._copy(_opened(source), _opened(target))
        self._sum_up(report, source, target, is_before=to is not None)

    def _copy(self, source: ResultsStorage, target: ResultsStorage) -> MoveReport:
        # On a terminal only.
        with tqdm(total=total_size(), unit="B", unit_scale=True, disable=None, leave=False) as bar:
            return copy_all(source, target, bar.update)

    def _sum_up(
        self, report: MoveReport, source: StorageAddress, target: StorageAddress, *, is_before: bool
    ) -> None:
        size = filesizeformat(report.copied_bytes).replace("\xa0", " ")
        self.stdout.write(f"Copied: {report.copied:,} ({size}). Were there already: {report.were_there:,}.")
        for problem in report.problems:
            self.stderr.write(problem)
        if report.problems:
            raise CommandError(f"Not copied: {len(report.problems):,}. The others are in {target.shown}.")
        if is_before:
            self.stdout.write(
                f"All results are in {target.shown} as well. As a backup this is complete. To have the site "
                "use it, set RESULTS_STORAGE_URL to its address, restart every process, and call "
                "move_results --from with the address of the old one, for what was written in between."
            )
        else:
            self.stdout.write(
                f"All results are in {target.shown}. Nothing was removed: {source.shown} holds what it held."
            )


def _parsed(url: str) -> StorageAddress:
    """Return what an address says. Raises CommandError."""
    if url == _FROM_INPUT:
        # An address in the command line can be read by everybody on the machine.
        url = sys.stdin.readline().strip()
    if url == _FOLDER:
        return address.in_folder(Path(settings.DATA_DIR) / "results")
    try:
        return address.parse(url)
    except address.InvalidAddress as problem:
        raise CommandError(str(problem)) from None


def _opened(place: StorageAddress) -> ResultsStorage:
    try:
        return cast(ResultsStorage, storages.create_storage(place.entry))
    except InvalidStorageError as error:
        raise CommandError(str(error)) from None


@contextmanager
def _saying_what_is_wrong() -> Iterator[None]:
    """Raise CommandError, in one sentence, for what keeps the rest from being copied."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"A storage can't be used: {error.strerror or error}. {GO_ON}") from None
    except OperationalError as error:
        raise CommandError(f"{database_problem(error)} {GO_ON}") from None
    except KeyboardInterrupt:
        raise interrupted(GO_ON) from None
