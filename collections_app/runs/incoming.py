"""Result files that a user imports: pages, a ZIP of pages, JSON Lines, or a category list."""

import enum
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, BinaryIO, Self

from collections_app.files.names import printable
from collections_app.files.zip import DIRECTORY_END, MEMBER, is_encrypted, largest_read
from collections_app.records.formats.json_records import WRAPPER, InvalidRecords, read_keys

_LINES_ENDINGS = {".jsonl", ".ndjson"}
_BLANKS = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PAGE_NUMBER = re.compile(r"Page_([0-9]{1,18})")
# The keys that surround the data of every API response.
_ENVELOPE = {"code", "data", "status"}
_A_PAGE = "A page is a list of records: [{...}, {...}]."
_PIECE = 64 * 1024
_UNREADABLE = " can't be read"
_DAMAGED_ZIP = ": the ZIP is damaged or unsupported"
# The folder that macOS adds to ZIPs.
_MAC_EXTRAS = "__MACOSX/"


class Unusable(Exception):
    """A file can't be imported. The message says why."""


class Form(enum.Enum):
    """The format of a file, recognized by its beginning."""

    LIST = "a list of records"
    OBJECT = "one object"
    LINES = "JSON Lines"


@dataclass(frozen=True)
class Incoming:
    """A file, or a member of a ZIP, to import. Messages call it `label`."""

    label: str
    name: str
    form: Form
    size: int
    opener: Callable[[], IO[bytes]]
    unreadable: str = _UNREADABLE
    largest_read: int | None = None

    def open(self, progress: Callable[[int], object]) -> "Reader":
        """Open the file. Each read calls `progress` with the number of bytes. Raises Unusable."""
        return Reader(self, progress)


class Reader:
    """The stream of a file to import. Raises Unusable if the file can't be read."""

    def __init__(self, file: Incoming, progress: Callable[[int], object]) -> None:
        self._file = file
        self._progress = progress
        with _reading(file.label + file.unreadable):
            self._stream = file.opener()

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, or nothing at the end."""
        largest = self._file.largest_read or size
        data = piece = self._take(self._stream.read, min(size, largest))
        while piece and len(data) < size:
            piece = self._take(self._stream.read, min(size - len(data), largest))
            data += piece
        return data

    def readline(self, size: int, /) -> bytes:
        """Return at most `size` bytes of the next line, or nothing at the end."""
        return self._take(self._stream.readline, size)

    def _take(self, read: Callable[[int], bytes], size: int) -> bytes:
        with _reading(self._file.label + self._file.unreadable):
            data = read(size)
        self._progress(len(data))
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._stream.close()


def incoming_files(paths: list[Path], stack: ExitStack) -> list[Incoming]:
    """Return the files to import. If all have page numbers, they are in that order.

    ZIPs stay open until the stack is closed. Raises Unusable, OSError.
    """
    found: list[Incoming] = []
    for path in paths:
        found += _incoming(path, stack)
    numbers = [_PAGE_NUMBER.search(file.name) for file in found]
    if all(numbers):
        found.sort(key=lambda file: int(_PAGE_NUMBER.findall(file.name)[-1]))
    return found


def why_no_page(file: Incoming) -> str:
    """Return why a file that contains one object isn't a page of products. Raises Unusable."""
    keys = set()
    with file.open(lambda size: None) as stream, suppress(InvalidRecords):
        for key in read_keys(stream):
            keys.add(key)
            if key == WRAPPER:
                return f"{file.label} is a category list, and this collection scrapes products."
            if keys >= _ENVELOPE:
                return (
                    f"{file.label} is an API response with a list of runs. Import the files that it links "
                    f"to. {_A_PAGE}"
                )
    # Includes objects that are damaged or too large to be searched.
    return f"{file.label} is one object. {_A_PAGE} JSON Lines files need the extension .jsonl."


def shown(path: Path | str) -> str:
    """Return a printable form of a path."""
    return printable(str(path))


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Raise Unusable if reading a file fails. For malicious bytes, zipfile can raise any exception."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unusable(f"{what} ({printable(reason).rstrip('.')}).") from None


def _incoming(path: Path, stack: ExitStack) -> list[Incoming]:
    if not path.exists():
        raise Unusable(f"The file {shown(path)} doesn't exist.")
    if not path.is_file():
        raise Unusable(f"{shown(path)} is not a file.")
    with _reading(shown(path) + _UNREADABLE), path.open("rb") as file:
        head = file.read(len(MEMBER))
        file.seek(0)
        form = Form.LINES if path.suffix.lower() in _LINES_ENDINGS else _form(file)
        size = path.stat().st_size
    if not head:
        raise Unusable(f"{shown(path)} is empty.")
    if head in {MEMBER, DIRECTORY_END}:
        return _members(path, stack)
    return [Incoming(shown(path), path.name, form, size, lambda: path.open("rb"))]


def _form(file: BinaryIO) -> Form:
    if file.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
        file.seek(0)
    last = b""  # the last character so far that isn't whitespace
    is_new_line = False
    # Lines are read in pieces, because the first one may be an entire category.
    while piece := file.readline(_PIECE):
        text = piece.strip(_BLANKS)
        if text and not last and not text.startswith(b"{"):
            # Anything that isn't JSON is treated as a list, because reading it reports what is wrong, and
            # where.
            return Form.LIST
        if text and last and is_new_line:
            # Within JSON, nothing that ends with } is followed by {.
            return Form.LINES if last + text[:1] == b"}{" else Form.OBJECT
        last = text[-1:] or last
        is_new_line = piece.endswith(b"\n")
    return Form.OBJECT if last else Form.LIST


def _members(path: Path, stack: ExitStack) -> list[Incoming]:
    with _reading(shown(path) + _DAMAGED_ZIP):
        archive = stack.enter_context(zipfile.ZipFile(path))
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir() and not member.filename.startswith(_MAC_EXTRAS)
    ]
    if not members:
        raise Unusable(f"{shown(path)} is a ZIP without pages.")
    return [_member(path, archive, member) for member in members]


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Incoming:
    label = f"{shown(path)}: {printable(member.filename)}"
    if not member.filename.lower().endswith(".json"):
        raise Unusable(f"{label} is not a JSON file. A ZIP to import may contain only pages.")
    if is_encrypted(member):
        raise Unusable(f"{label} is encrypted. Extract the ZIP, and import the pages.")
    # The member is checked while it is read, in bounded memory.
    return Incoming(
        label,
        PurePosixPath(member.filename).name,
        Form.LIST,
        member.file_size,
        lambda: archive.open(member),
        _DAMAGED_ZIP,
        largest_read(member),
    )
