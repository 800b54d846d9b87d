"""Create a run from files."""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from tqdm import tqdm

from collections_app.files.names import printable
from collections_app.management.arguments import collection_of, count, database_problem, interrupted, text
from collections_app.models import Collection, Run
from collections_app.records.formats.json_records import InvalidRecords, read_json_lines
from collections_app.runs.incoming.files import Incoming, Unusable, shown
from collections_app.runs.incoming.forms import Form
from collections_app.runs.incoming.lookup import incoming_files
from collections_app.runs.incoming.objects import why_no_page
from collections_app.runs.lease import LeaseLost
from collections_app.runs.repair import fail_interrupted_runs
from collections_app.runs.writer import DEFAULT_PAGE_SIZE, ResultSetWriter, WrongUse
from collections_app.system.disk import free_space

NOTHING = "Nothing was imported."


class Command(BaseCommand):
    """Imports result files as one new run."""

    help = (
        "Import result files as one new run of a collection. The files can be pages (JSON lists of records, "
        "stored unchanged), the ZIP file of all pages, JSON Lines (.jsonl, .ndjson, split into pages) or, "
        'for a category collection, the complete list (a JSON list, {"asins": [...]}, or JSON Lines). '
        "Files are imported in the order of the numbers in their names (page_1, page_2, page_10). The number "
        'after "page" counts first, then the others from left to right. If names repeat, the numbers of '
        "their folders count before. A name that only lacks the number comes first: results.json, then "
        "results (1).json. "
        "All other files without a number stay where you name them. Files that macOS and Windows add "
        "(.DS_Store, ._*, __MACOSX, Thumbs.db, desktop.ini) are ignored. If a file has an error, nothing is "
        "imported."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument(
            "collection", metavar="COLLECTION", type=text, help="the id or exact name of the collection"
        )
        parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a file to import")
        parser.add_argument(
            "--page-size",
            metavar="N",
            type=_at_least_one,
            default=DEFAULT_PAGE_SIZE,
            help="the number of records per page, for JSON Lines (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Import the files and print the result."""
        try:
            collection = collection_of(options["collection"])
            with ExitStack() as stack:
                files = incoming_files(options["files"], stack)
                _check(collection, files)
                fail_interrupted_runs()
                run = _import(collection, files, options["page_size"])
        except (Unusable, WrongUse, LeaseLost) as error:
            raise CommandError(f"{error} {NOTHING}") from None
        except OSError as error:
            what = f"{shown(error.filename)}: " if error.filename else ""
            raise CommandError(f"{what}{error.strerror or error}. {NOTHING}") from None
        except OperationalError as error:
            # If the cleanup failed too, the next import or repair fails the Processing run that is left.
            raise CommandError(f"{database_problem(error)} {NOTHING}") from None
        except RecursionError:
            # Reading has a higher limit than writing.
            raise CommandError(f"A record is nested too deeply. {NOTHING}") from None
        except KeyboardInterrupt:
            raise interrupted(NOTHING) from None
        records, result_files = count(run.extracted or 0, "record"), count(run.file_count, "file")
        self.stdout.write(f"Run {run.number} of {printable(collection.name)}: {records} in {result_files}.")
        self.stdout.write(settings.PUBLIC_URL + reverse("download", args=[collection.pk]))


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a page has at least one record")
    return number


def _check(collection: Collection, files: list[Incoming]) -> None:
    """Raise Unusable if the files can't be a run of this collection."""
    lines = [file for file in files if file.form is Form.LINES]
    if lines and len(lines) < len(files):
        raise Unusable(
            f"{lines[0].label} is JSON Lines, but other files aren't. All files of a run must have the same "
            "type."
        )
    if collection.is_category and len(files) > 1:
        name = printable(collection.name)
        raise Unusable(f"{name} is a category collection, so a run has one list, not {len(files)} files.")
    for file in files:
        if file.form is Form.OBJECT and not collection.is_category:
            raise Unusable(why_no_page(file))
    _check_room(files)


def _check_room(files: list[Incoming]) -> None:
    """Raise Unusable if the files don't fit, such as those of a ZIP bomb."""
    size = sum(file.size for file in files if file.form is not Form.LINES)
    free = free_space()
    if free is not None and size > free:
        raise Unusable(
            f"{files[0].label}{' and the other files need' if len(files) > 1 else ' needs'} "
            f"{filesizeformat(size)}, but the results storage has only {filesizeformat(free)} free."
        )


def _import(collection: Collection, files: list[Incoming], page_size: int) -> Run:
    total = sum(file.size for file in files)
    # Only shown on a terminal.
    progress = tqdm(total=total, unit="B", unit_scale=True, desc="Importing", disable=None, leave=False)
    with progress, ResultSetWriter.start(collection, page_size=page_size) as writer:
        for file in files:
            with _naming(file), file.open(progress.update) as stream:
                if file.form is Form.LINES:
                    for record in read_json_lines(stream):
                        writer.add_record_text(record)
                else:
                    writer.add_page(file.name, stream)
    return writer.run


@contextmanager
def _naming(file: Incoming) -> Iterator[None]:
    """Add the file's name to errors in its content."""
    try:
        yield
    except InvalidRecords as error:
        raise Unusable(f"{file.label}, {error}.") from None
