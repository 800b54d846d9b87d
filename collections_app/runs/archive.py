"""The ZIP of a run's pages, which grows while they are written."""

import shutil
import tempfile
import zipfile
from datetime import datetime
from types import TracebackType
from typing import Self

from isal import isal_zlib

from collections_app.files.storage.base import results
from collections_app.models import ResultFile
from collections_app.runs.new_file import NewFile

_BLOCK = 256 * 1024
# Of real scraped records it makes 1.11 times what `zip -6` makes, in 0.14 of the time.
_LEVEL = 3
_RAW_DEFLATE = -15  # without the header that zlib has; a window of 32 KiB
# What of a page's deflated bytes is kept in memory until the page is whole.
_IN_MEMORY = 8 * 1024 * 1024
# What the format can say.
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
_LAST_DATE = (2107, 12, 31, 23, 59, 58)


class Packed:
    """A page's bytes, deflated as they come; those of a very large page go into a temporary file."""

    def __init__(self) -> None:
        self._deflate = isal_zlib.compressobj(_LEVEL, wbits=_RAW_DEFLATE)
        self._spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # closed by close()
        self.size = 0
        self.crc32 = 0

    def write(self, data: bytes) -> None:
        """Add some of the page's bytes."""
        self.size += len(data)
        self.crc32 = isal_zlib.crc32(data, self.crc32)
        self._spool.write(self._deflate.compress(data))

    def move_to(self, member: zipfile.ZipInfo, out: NewFile) -> int:
        """Write the ZIP's member, whose name and date are given; return where its deflated bytes begin."""
        self._spool.write(self._deflate.flush())
        member.file_size, member.compress_size, member.CRC = self.size, self._spool.tell(), self.crc32
        member.header_offset = out.size
        out.write(member.FileHeader())
        begin = out.size
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, out, _BLOCK)
        return begin

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget the bytes."""
        self.close()

    def close(self) -> None:
        """Forget the bytes."""
        self._spool.close()


class Archive:
    """A ZIP on its way into the results storage.

    A page is added once it is whole: its header says how large it is, and a page that turns out to be none
    leaves no trace. Pages and archive may be of any size (Zip64 where they need it). All that remains to be
    done after the last page is the table of contents.
    """

    def __init__(self, file: NewFile, made_at: datetime) -> None:
        """Begin the ZIP of a run that was made at that time."""
        self.file = file
        self._date = min(max(made_at.utctimetuple()[:6], _FIRST_DATE), _LAST_DATE)
        self._members: list[zipfile.ZipInfo] = []

    def add(self, page: ResultFile, packed: Packed) -> None:
        """Add a page, and note in its row, which is not saved, where its bytes lie."""
        member = zipfile.ZipInfo(page.name, self._date)
        member.compress_type = zipfile.ZIP_DEFLATED
        member.external_attr = 0o644 << 16
        page.archive_offset = packed.move_to(member, self.file)
        page.archive_size, page.crc32 = member.compress_size, member.CRC
        self._members.append(member)

    def add_stored(self, page: ResultFile) -> None:
        """Add a page that is read from the results storage; otherwise as add()."""
        with results().open(page.key) as stored, Packed() as packed:
            shutil.copyfileobj(stored, packed, _BLOCK)
            self.add(page, packed)

    def close(self) -> None:
        """Write the table of contents, and let the ZIP appear in the storage."""
        # It begins where the file ends by now. zipfile lists the members that it is told of.
        with zipfile.ZipFile(self.file, "w") as contents:
            contents.filelist.extend(self._members)
        self.file.close()

    def discard(self) -> None:
        """Forget the ZIP."""
        self.file.discard()
