"""Result files as a person has them from the vendor: pages, a ZIP of pages, JSON Lines, a category list."""

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
# What every answer of the API has around its data.
_ENVELOPE = {"code", "data", "status"}
_A_PAGE = "A page is a list of records: [{...}, {...}]."
_PIECE = 64 * 1024
_UNREADABLE = " can't be read"
_DAMAGED_ZIP = ": the ZIP is damaged or of an unknown kind"
# What macOS puts beside the files when it makes a ZIP.
_MAC_EXTRAS = "__MACOSX/"


class Unusable(Exception):
    """A file can't be imported; the message says why, in plain English."""


class Form(enum.Enum):
    """What is in a file, by the look of its beginning."""

    LIST = "a list of records"
    OBJECT = "one object"
    LINES = "JSON Lines"


@dataclass(frozen=True)
class Incoming:
    """A file, or a member of a ZIP, that is to be imported. `label` is what it is called in messages."""

    label: str
    name: str
    form: Form
    size: int
    opener: Callable[[], IO[bytes]]
    unreadable: str = _UNREADABLE
    largest_read: int | None = None

    def open(self, seen: Callable[[int], object]) -> "Reader":
        """Open the file; `seen` is told how many bytes were read each time. Raises Unusable."""
        return Reader(self, seen)


class Reader:
    """A file that is being imported, as a stream. Whatever is wrong with its bytes raises Unusable."""

    def __init__(self, file: Incoming, seen: Callable[[int], object]) -> None:
        self._file = file
        self._seen = seen
        with _reading(file.label + file.unreadable):
            self._stream = file.opener()

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; nothing at the end."""
        largest = self._file.largest_read or size
        data = piece = self._take(self._stream.read, min(size, largest))
        while piece and len(data) < size:
            piece = self._take(self._stream.read, min(size - len(data), largest))
            data += piece
        return data

    def readline(self, size: int, /) -> bytes:
        """Return the next line, at most `size` bytes of it; nothing at the end."""
        return self._take(self._stream.readline, size)

    def _take(self, read: Callable[[int], bytes], size: int) -> bytes:
        with _reading(self._file.label + self._file.unreadable):
            data = read(size)
        self._seen(len(data))
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._stream.close()


def look_at(paths: list[Path], stack: ExitStack) -> list[Incoming]:
    """Return what is in the files, in the order of their pages where all of them are numbered.

    ZIPs stay open until the stack is closed. Raises Unusable, OSError.
    """
    found: list[Incoming] = []
    for path in paths:
        found += _look_at(path, stack)
    numbers = [_PAGE_NUMBER.search(file.name) for file in found]
    if all(numbers):
        found.sort(key=lambda file: int(_PAGE_NUMBER.findall(file.name)[-1]))
    return found


def why_no_page(file: Incoming) -> str:
    """Say what a file of one object is, since it is no page of products. Raises Unusable."""
    keys = set()
    with file.open(lambda size: None) as stream, suppress(InvalidRecords):
        for key in read_keys(stream):
            keys.add(key)
            if key == WRAPPER:
                return f"{file.label} is a category list, and this collection scrapes products."
            if keys >= _ENVELOPE:
                return (
                    f"{file.label} is an answer of the API, the list of runs; what can be imported are the "
                    f"files behind its links. {_A_PAGE}"
                )
    # Also where it is broken, or so large that it isn't looked through.
    return f"{file.label} is one object. {_A_PAGE} A file with one record on each line is named .jsonl."


def shown(path: Path | str) -> str:
    """Return a path as it can be printed, whatever bytes are in it."""
    return printable(str(path))


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Raise Unusable for whatever goes wrong with a file's bytes.

    zipfile and what it unpacks with raise anything whatever for bytes that were made up to harm.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unusable(f"{what} ({printable(reason).rstrip('.')}).") from None


def _look_at(path: Path, stack: ExitStack) -> list[Incoming]:
    if not path.exists():
        raise Unusable(f"There is no file {shown(path)}.")
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
    last = b""  # the last character so far that is no blank
    is_new_line = False
    # Pieces of lines: the first line may be a whole category.
    while piece := file.readline(_PIECE):
        text = piece.strip(_BLANKS)
        if text and not last and not text.startswith(b"{"):
            # Anything that is no JSON at all passes for a list; reading it says what is wrong, and where.
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
        raise Unusable(f"{shown(path)} is a ZIP without any page.")
    return [_member(path, archive, member) for member in members]


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Incoming:
    label = f"{shown(path)}: {printable(member.filename)}"
    if not member.filename.lower().endswith(".json"):
        raise Unusable(f"{label} is not a JSON file. A results ZIP holds nothing but pages.")
    if is_encrypted(member):
        raise Unusable(f"{label} is encrypted. Unpack the ZIP and import the pages.")
    # The member's bytes are checked as they come, and never held as a whole, however many they are.
    return Incoming(
        label,
        PurePosixPath(member.filename).name,
        Form.LIST,
        member.file_size,
        lambda: archive.open(member),
        _DAMAGED_ZIP,
        largest_read(member),
    )
