"""Create a run from files."""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from django.urls import reverse
from tqdm import tqdm

from collections_app.files.names import printable
from collections_app.management.arguments import collection_of, count, database_problem, interrupted, text
from collections_app.runs.incoming.checks import checked
from collections_app.runs.incoming.files import Incoming, Unusable, shown
from collections_app.runs.incoming.forms import endings
from collections_app.runs.incoming.lookup import incoming_files
from collections_app.runs.incoming.objects import NoListChosen
from collections_app.runs.incoming.paths import files_at
from collections_app.runs.incoming.write import write_run
from collections_app.runs.lease import LeaseLost
from collections_app.runs.repair import fail_interrupted_runs
from collections_app.runs.writer import DEFAULT_PAGE_SIZE, WrongUse

NOTHING = "Nothing was imported."


class Command(BaseCommand):
    """Imports result files as one new run."""

    help = (
        "Import result files as one new run of a collection. The files can be pages, the ZIP file of all "
        f"pages, JSON Lines ({endings('lines')}, split into pages) or, for a category "
        'collection, the complete list (a JSON list, {"asins": [...]}, or JSON Lines). All but ZIP files can '
        "be compressed with gzip. A page is a JSON list of records, which is stored unchanged. Several lists "
        "that follow each other in a file ([...][...], as Scrapy appends them) become one page. A page can "
        'also be an object with one list of records, such as {"search_results": [...]}; only the list is '
        "stored. Files whose names differ only in numbers are imported in the order of these numbers "
        "(page_1, page_2, page_10). Earlier numbers take precedence, and those of folders and ZIP files "
        "precede those of file names. All other files keep their order on the command line. If each name "
        'contains its own title or id, files are sorted by the number after "page", or by the first number '
        "after a common prefix. Files that macOS and Windows add "
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
            "--records-at",
            metavar="NAME",
            type=text,
            help="the name of the list of records, for files that contain an object with several lists; "
            "for a list within another object, use dots: data.results",
        )
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
                files = incoming_files(files_at(options["files"]), stack)
                files = checked(collection, files, options["records_at"])
                fail_interrupted_runs()
                with _progress(files) as progress:
                    run = write_run(collection, files, options["page_size"], progress.update)
        except NoListChosen as error:
            raise CommandError(f"{error} Choose one with --records-at NAME. {NOTHING}") from None
        except (Unusable, WrongUse, LeaseLost) as error:
            raise CommandError(f"{error} {NOTHING}") from None
        except OSError as error:
            what = f"{shown(error.filename)}: " if error.filename else ""
            raise CommandError(f"{what}{error.strerror or error}. {NOTHING}") from None
        except OperationalError as error:
            # If the cleanup failed too, the next import or repair fails the Processing run that is left.
            raise CommandError(f"{database_problem(error)} {NOTHING}") from None
        except KeyboardInterrupt:
            raise interrupted(NOTHING) from None
        records, result_files = count(run.extracted or 0, "record"), count(run.file_count, "file")
        self.stdout.write(f"Run {run.number} of {printable(collection.name)}: {records} in {result_files}.")
        self.stdout.write(settings.PUBLIC_URL + reverse("download", args=[collection.pk]))


def _at_least_one(argument: str) -> int:
    try:
        number = int(argument)
    except ValueError:
        raise argparse.ArgumentTypeError("not a number; use a number such as 250") from None
    if number < 1:
        raise argparse.ArgumentTypeError("a page has at least one record")
    return number


def _progress(files: list[Incoming]) -> "tqdm[NoReturn]":
    """Return a progress bar, which is only shown on a terminal."""
    total = sum(file.size for file in files)
    return tqdm(total=total, unit="B", unit_scale=True, desc="Importing", disable=None, leave=False)
