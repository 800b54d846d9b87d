"""`import_run`: make a run from files that a person has from the vendor."""

import argparse
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse
from tqdm import tqdm

from collections_app.formats.json_records import InvalidRecords, read_json_lines
from collections_app.management.arguments import collection_of
from collections_app.models import Collection, Run
from collections_app.result_sets.incoming import Form, Incoming, Unusable, look_at
from collections_app.result_sets.lease import WriterLost
from collections_app.result_sets.repair import fail_interrupted_runs
from collections_app.result_sets.writer import DEFAULT_PAGE_SIZE, ResultSetWriter, WrongUse

NOTHING = "Nothing was imported."
_INTERRUPTED = 130  # what a shell says of a command that was ended by Ctrl-C


class Command(BaseCommand):
    """Imports result files as one new run."""

    help = (
        "Import result files as one new run of a collection. The files may be pages (JSON lists of "
        "records; kept byte for byte), the ZIP of all pages, JSON Lines (.jsonl, .ndjson; cut into pages), "
        "or, for a category collection, the full list "
        '(a JSON list, {"asins": [...]}, or JSON Lines). '
        "Files whose names contain Page_1, Page_2 and so on are put in that order. Where anything is wrong "
        "with a file, nothing is imported."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Describe the command line."""
        parser.add_argument("collection", metavar="COLLECTION", help="the collection's id, or its name")
        parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a file to import")
        parser.add_argument(
            "--page-size",
            metavar="N",
            type=_at_least_one,
            default=DEFAULT_PAGE_SIZE,
            help="how many records of JSON Lines go into a page (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Import, and say what came of it."""
        collection = collection_of(options["collection"])
        try:
            with ExitStack() as stack:
                files = look_at(options["files"], stack)
                _check(collection, files)
                fail_interrupted_runs()
                run = _import(collection, files, options["page_size"])
        except (Unusable, WrongUse, WriterLost) as error:
            raise CommandError(f"{error} {NOTHING}") from None
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            raise CommandError(f"{what}{error.strerror or error}. {NOTHING}") from None
        except RecursionError:
            # Just not too deep to be read, but to be written.
            raise CommandError(f"A record is nested too deeply. {NOTHING}") from None
        except KeyboardInterrupt:
            raise CommandError(f"Interrupted. {NOTHING}", returncode=_INTERRUPTED) from None
        records, files_made = _count(run.extracted, "record"), _count(run.file_count, "file")
        self.stdout.write(f"Run {run.number} of {collection}: {records} in {files_made}.")
        self.stdout.write(settings.PUBLIC_URL + reverse("download", args=[collection.pk]))


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a page holds at least one record")
    return number


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _check(collection: Collection, files: list[Incoming]) -> None:
    """Refuse files that can't be a run of this collection. Raises Unusable."""
    lines = [file for file in files if file.form is Form.LINES]
    if lines and len(lines) < len(files):
        raise Unusable(
            f"{lines[0].label} is JSON Lines and others are not; a run is made of one kind of file."
        )
    if collection.is_category:
        if len(files) > 1:
            raise Unusable(
                f"{collection} scrapes a category; a run of it has one list, not {len(files)} files."
            )
        return
    for file in files:
        if file.form is Form.WRAPPED_LIST:
            raise Unusable(f"{file.label} is a category list, and {collection} scrapes products.")


def _import(collection: Collection, files: list[Incoming], page_size: int) -> Run:
    total = sum(file.size for file in files)
    # On a terminal only.
    progress = tqdm(total=total, unit="B", unit_scale=True, desc="Importing", disable=None, leave=False)
    with progress, ResultSetWriter.start(collection, page_size=page_size) as writer:
        for file in files:
            with _naming(file), file.open() as stream:
                watched = _Watched(stream, progress)
                if file.form is Form.LINES:
                    for record in read_json_lines(watched):
                        writer.add_record(record)
                else:
                    writer.add_page(file.name, watched)
    return writer.run


@contextmanager
def _naming(file: Incoming) -> Iterator[None]:
    """Say of which file it is when something is wrong with its content."""
    try:
        yield
    except InvalidRecords as error:
        raise Unusable(f"{file.label}, {error}.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise Unusable(f"{file.label}: the ZIP is damaged or of an unknown kind ({error}).") from None


class _Watched:
    """A stream that moves a progress bar."""

    def __init__(self, stream: BinaryIO, progress: "tqdm[Any]") -> None:
        self._stream = stream
        self._progress = progress

    def read(self, size: int, /) -> bytes:
        """Read, and show it."""
        return self._seen(self._stream.read(size))

    def readline(self, size: int, /) -> bytes:
        """Read a line, and show it."""
        return self._seen(self._stream.readline(size))

    def _seen(self, data: bytes) -> bytes:
        self._progress.update(len(data))
        return data
