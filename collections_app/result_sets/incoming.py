"""Result files as a person has them from the vendor: pages, a ZIP of pages, JSON Lines, a category list."""

import enum
import os
import re
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from collections_app.formats.json_records import WRAPPER

_LINES_ENDINGS = {".jsonl", ".ndjson"}
_BLANKS = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WRAPPED_LIST = re.compile(rb'\{\s*"%b"\s*:\s*\[' % WRAPPER.encode())
_PAGE_NUMBER = re.compile(r"Page_([0-9]{1,18})")
_HEAD = 4096
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # with members, and without
_ENCRYPTED = 0x1
# What macOS puts beside the files when it makes a ZIP.
_MAC_EXTRAS = "__MACOSX/"


class Unusable(Exception):
    """A file can't be imported; the message says why, in plain English."""


class Form(enum.Enum):
    """What is in a file, by the look of its beginning."""

    LIST = "a list of records"
    WRAPPED_LIST = "a category list"
    LINES = "JSON Lines"


@dataclass(frozen=True)
class Incoming:
    """A file, or a member of a ZIP, that is to be imported. `label` is what it is called in messages."""

    label: str
    name: str
    form: Form
    size: int
    open: Callable[[], BinaryIO]


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


def shown(path: Path) -> str:
    """Return a path as it can be printed, whatever bytes are in it."""
    return os.fsencode(path).decode(errors="replace")


def _look_at(path: Path, stack: ExitStack) -> list[Incoming]:
    if not path.exists():
        raise Unusable(f"There is no file {shown(path)}.")
    if not path.is_file():
        raise Unusable(f"{shown(path)} is not a file.")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise Unusable(f"{shown(path)} is empty.")
    if head.startswith(_ZIP):
        return _members(path, stack)
    form = Form.LINES if path.suffix.lower() in _LINES_ENDINGS else _form(head)
    return [Incoming(shown(path), path.name, form, path.stat().st_size, lambda: path.open("rb"))]


def _form(head: bytes) -> Form:
    head = head.removeprefix(_BYTE_ORDER_MARK).lstrip(_BLANKS)
    if _WRAPPED_LIST.match(head):
        return Form.WRAPPED_LIST
    # Anything that is no JSON at all passes for a list; reading it says what is wrong, and where.
    return Form.LINES if head.startswith(b"{") else Form.LIST


def _members(path: Path, stack: ExitStack) -> list[Incoming]:
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except zipfile.BadZipFile as error:
        raise Unusable(f"{shown(path)} is a damaged ZIP ({error}).") from None
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir() and not member.filename.startswith(_MAC_EXTRAS)
    ]
    if not members:
        raise Unusable(f"{shown(path)} is a ZIP without any page.")
    return [_member(path, archive, member) for member in members]


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Incoming:
    label = f"{shown(path)}: {member.filename}"
    if not member.filename.lower().endswith(".json"):
        raise Unusable(f"{label} is not a JSON file. A results ZIP holds nothing but pages.")
    if member.flag_bits & _ENCRYPTED:
        raise Unusable(f"{label} is encrypted. Unpack the ZIP and import the pages.")
    # The member's bytes are checked as they come, and never held as a whole, however many they are.
    return Incoming(
        label,
        PurePosixPath(member.filename).name,
        Form.LIST,
        member.file_size,
        lambda: cast(BinaryIO, archive.open(member)),
    )
