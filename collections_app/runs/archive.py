"""The ZIP of a run's pages, which grows while they are written."""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager

from django.db import transaction

from collections_app.files.storage.base import results
from collections_app.files.zip import Deflated, GrowingZip
from collections_app.models import FileKind, ResultFile, Run
from collections_app.runs.lease import Lease
from collections_app.runs.new_file import NewFile

_BLOCK = 256 * 1024
_PAGES_AT_ONCE = 100


class RunArchive:
    """The ZIP of a run's pages.

    Each page is compressed while it is written and added once it is complete, so that only the directory is
    left to write after the last page. If that isn't possible, finish() builds the ZIP from the stored pages.
    """

    def __init__(self, run: Run, lease: Lease) -> None:
        self._run = run
        self._lease = lease
        self._page: Deflated | None = None
        self._zip: GrowingZip[NewFile] | None = None

    def begin_page(self, *, is_first: bool) -> None:
        """Start to compress a page, unless the ZIP lacks earlier pages."""
        if is_first or self._zip is not None:
            self._page = Deflated()

    def write(self, data: bytes) -> None:
        """Add bytes to the page."""
        if self._page is not None:
            self._page.write(data)

    def discard_page(self) -> None:
        """Discard the unfinished page."""
        if self._page is not None:
            self._page.close()
            self._page = None

    @contextmanager
    def adding(self, page: ResultFile) -> Iterator[None]:
        """Add the page, then let the block save its row. Discard the ZIP if either fails."""
        with self._discarded_on_error():
            if self._page is not None:
                self._add(page, self._page)
                self.discard_page()
            yield

    def finish(self) -> NewFile:
        """Complete the ZIP and return its file."""
        with self._lease.checked_if_files_vanish(), self._discarded_on_error():
            if self._zip is None:
                self._add_stored_pages()
            archive = self._zip or self._begin()
            archive.finish()
            archive.out.close()
        return archive.out

    def discard(self) -> None:
        """Discard the ZIP and the unfinished page."""
        self.discard_page()
        if self._zip is not None:
            self._zip.out.discard()
            self._zip = None

    @contextmanager
    def _discarded_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.discard()
            raise

    def _begin(self) -> GrowingZip[NewFile]:
        self._zip = GrowingZip(self._lease.new_file("archive.zip"), self._run.created_at)
        return self._zip

    def _add(self, page: ResultFile, content: Deflated) -> None:
        """Add the page and set its location. Saves nothing."""
        archive = self._zip or self._begin()
        page.archive_offset, page.archive_size, page.crc32 = archive.add(page.name, content)

    def _add_stored_pages(self) -> None:
        pages = self._run.files.filter(kind=FileKind.PAGE).order_by("position")
        last = 0
        while batch := list(pages.filter(position__gt=last)[:_PAGES_AT_ONCE]):
            for page in batch:
                self._add_stored(page)
            with transaction.atomic(durable=True):
                self._lease.renew()
                ResultFile.objects.bulk_update(batch, ["archive_offset", "archive_size", "crc32"])
            last = batch[-1].position

    def _add_stored(self, page: ResultFile) -> None:
        with results().open(page.key) as stored, closing(Deflated()) as content:
            shutil.copyfileobj(stored, content, _BLOCK)
            self._add(page, content)
