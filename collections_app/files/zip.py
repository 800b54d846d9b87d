"""The ZIP format: write headers and directories, and check ZIPs from elsewhere.

zipfile can't write headers and a directory for members that are stored or compressed elsewhere, so this uses
`ZipInfo.FileHeader()` and `ZipFile.filelist`, which aren't documented (Python 3.11.7 was read). In
tests/test_archive.py and tests/test_selection_zip.py, other programs check the result.
"""

import io
import shutil
import struct
import tempfile
import zipfile
from datetime import UTC, datetime
from typing import IO, Generic, NamedTuple, Protocol, TypeVar

from isal import isal_zlib

# The first bytes of a member's header (and so of a ZIP), and of the directory's end (and so of an empty ZIP).
MEMBER = b"PK\x03\x04"
DIRECTORY_END = b"PK\x05\x06"
# The maximum size of what ends a ZIP: the end-of-directory record and the longest comment.
_DIRECTORY_END_SIZE = 22
LONGEST_ENDING = _DIRECTORY_END_SIZE + 65_535
_COMMENT_LENGTH_AT = 20

# The offset in a member's header of the lengths of the name and the extra field that follow it.
_LENGTHS_AT = 26
_HEADER_SIZE = 30
_ENCRYPTED = 0x1
# The methods that zipfile decompresses in bounded memory.
_BOUNDED_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
# With other methods, zipfile decompresses this many bytes at once. More could expand to gigabytes.
_LARGEST_READ = 4096

# The range of dates in the format.
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
_LAST_DATE = (2107, 12, 31, 23, 59, 58)

_BLOCK = 256 * 1024
# For scraped records, 1.11 times the size of `zip -6` in 0.14 of the time.
_LEVEL = 3
_RAW_DEFLATE = -15  # no zlib header; a window of 32 KiB
# How much compressed data of one member is kept in memory.
_IN_MEMORY = 8 * 1024 * 1024


# --- writing ------------------------------------------------------------------------------------


def new_entry(name: str, at: datetime, *, is_deflated: bool) -> zipfile.ZipInfo:
    """Return the directory entry of a new member."""
    date = min(max(at.astimezone(UTC).timetuple()[:6], _FIRST_DATE), _LAST_DATE)
    entry = zipfile.ZipInfo(name, date)
    entry.compress_type = zipfile.ZIP_DEFLATED if is_deflated else zipfile.ZIP_STORED
    entry.external_attr = 0o644 << 16
    return entry


def directory(entries: list[zipfile.ZipInfo], begin: int) -> bytes:
    """Return the directory that ends a ZIP. It begins at byte `begin`."""
    out = _Sink(begin)
    with zipfile.ZipFile(out, "w") as archive:
        archive.filelist.extend(entries)
    return out.getvalue()


class _Sink(io.BytesIO):
    """The end of a file that can't be rewound."""

    def __init__(self, begin: int) -> None:
        super().__init__()
        self._begin = begin

    def tell(self) -> int:
        """Return the size of the entire file."""
        return self._begin + len(self.getbuffer())

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Refuse."""
        raise io.UnsupportedOperation("The file can't be rewound.")


class Deflated:
    """A member's content, compressed while it is written. Large content goes to a temporary file."""

    def __init__(self) -> None:
        self._compressor = isal_zlib.compressobj(_LEVEL, wbits=_RAW_DEFLATE)
        self._spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  # closed by close()
        self._size = 0
        self._crc32 = 0

    def write(self, data: bytes) -> None:
        """Add bytes to the content."""
        self._size += len(data)
        self._crc32 = isal_zlib.crc32(data, self._crc32)
        self._spool.write(self._compressor.compress(data))

    def finish(self, entry: zipfile.ZipInfo) -> IO[bytes]:
        """Enter the sizes and the CRC, and return the compressed bytes."""
        self._spool.write(self._compressor.flush())
        entry.file_size, entry.compress_size, entry.CRC = self._size, self._spool.tell(), self._crc32
        self._spool.seek(0)
        return self._spool

    def close(self) -> None:
        """Discard the content."""
        self._spool.close()


class Location(NamedTuple):
    """Where the compressed bytes of a member are in a ZIP, and the CRC of its content."""

    offset: int
    size: int
    crc32: int


class Output(Protocol):
    """A file that is written from its beginning to its end."""

    def write(self, data: bytes, /) -> int:
        """Append the bytes."""
        ...

    def tell(self) -> int:
        """Return how many bytes were written."""
        ...


Out = TypeVar("Out", bound=Output)


class GrowingZip(Generic[Out]):
    """A ZIP that is written member by member. Members and ZIP can have any size (Zip64)."""

    def __init__(self, out: Out, at: datetime) -> None:
        """Begin a ZIP whose members all have the same date."""
        self.out = out
        self._at = at
        self._entries: list[zipfile.ZipInfo] = []

    def add(self, name: str, content: Deflated) -> Location:
        """Append a member. Its header comes first and contains its size, so the content must be complete."""
        entry = new_entry(name, self._at, is_deflated=True)
        compressed = content.finish(entry)
        entry.header_offset = self.out.tell()
        self.out.write(entry.FileHeader())
        offset = self.out.tell()
        shutil.copyfileobj(compressed, self.out, _BLOCK)
        self._entries.append(entry)
        return Location(offset, entry.compress_size, entry.CRC)

    def finish(self) -> None:
        """Append the directory."""
        self.out.write(directory(self._entries, self.out.tell()))


# --- reading ------------------------------------------------------------------------------------


def is_encrypted(member: zipfile.ZipInfo) -> bool:
    """Whether reading the member needs a password."""
    return bool(member.flag_bits & _ENCRYPTED)


def has_bounded_method(member: zipfile.ZipInfo) -> bool:
    """Whether zipfile decompresses the member in bounded memory."""
    return member.compress_type in _BOUNDED_METHODS


def largest_read(member: zipfile.ZipInfo) -> int | None:
    """Return how many bytes to read from the member at once, or None if any number is fine."""
    return None if has_bounded_method(member) else _LARGEST_READ


def location_of(member: zipfile.ZipInfo, archive: IO[bytes]) -> Location:
    """Return where the compressed bytes of a member are in a ZIP."""
    archive.seek(member.header_offset + _LENGTHS_AT)
    lengths = struct.unpack("<HH", archive.read(4))
    return Location(member.header_offset + _HEADER_SIZE + sum(lengths), member.compress_size, member.CRC)


def is_ending(data: bytes) -> bool:
    """Whether these bytes are the end of a ZIP. It needs at most LONGEST_ENDING bytes."""
    at = data.rfind(DIRECTORY_END)
    while at >= 0:
        comment = data[at + _COMMENT_LENGTH_AT : at + _DIRECTORY_END_SIZE]
        if at + _DIRECTORY_END_SIZE + int.from_bytes(comment, "little") == len(data):
            return True
        at = data.rfind(DIRECTORY_END, 0, at)
    return False
