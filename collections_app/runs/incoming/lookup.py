"""The files to import: those that are named, and the members of ZIPs among them."""

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from collections_app.files.names import printable
from collections_app.files.zip import DIRECTORY_END, MEMBER, is_encrypted, largest_read
from collections_app.runs.incoming.files import Incoming, Unusable, reading, shown
from collections_app.runs.incoming.forms import Form, form_of
from collections_app.runs.incoming.page_order import NamedFile, in_page_order
from collections_app.runs.incoming.system_files import is_system_file

_LINES_ENDINGS = {".jsonl", ".ndjson"}
_DAMAGED_ZIP = ": the ZIP is damaged or unsupported. Extract it, and import the files."


def incoming_files(paths: list[Path], stack: ExitStack) -> list[Incoming]:
    """Return the files to import, in the order of in_page_order(), without system files.

    ZIPs stay open until the stack is closed. Raises Unusable, OSError.
    """
    files = [file for path in paths for file in _incoming(path, stack)]
    if not files:
        raise Unusable(f"{shown(paths[0])} was added by an operating system and contains no results.")
    return [files[at] for at in in_page_order([NamedFile(file.folder, file.name) for file in files])]


def _incoming(path: Path, stack: ExitStack) -> list[Incoming]:
    if is_system_file(str(path)):
        return []
    if not path.exists():
        raise Unusable(f"The file {shown(path)} doesn't exist.")
    if path.is_dir():
        raise Unusable(f"{shown(path)} is a folder. Name the files in it, such as {shown(path / '*.json')}.")
    if not path.is_file():
        raise Unusable(f"{shown(path)} is not a file.")
    with reading(shown(path), " can't be read."), path.open("rb") as file:
        head = file.read(len(MEMBER))
        file.seek(0)
        form = Form.LINES if path.suffix.lower() in _LINES_ENDINGS else form_of(file)
        size = path.stat().st_size
    if not head:
        raise Unusable(f"{shown(path)} is empty.")
    if head in {MEMBER, DIRECTORY_END}:
        return list(_members(path, stack))
    return [Incoming(shown(path), str(path.parent), path.name, size, lambda: path.open("rb"), form)]


def _members(path: Path, stack: ExitStack) -> Iterator[Incoming]:
    with reading(shown(path), _DAMAGED_ZIP):
        archive = stack.enter_context(zipfile.ZipFile(path))
    members = [
        member for member in archive.infolist() if not member.is_dir() and not is_system_file(member.filename)
    ]
    if not members:
        raise Unusable(f"{shown(path)} is a ZIP without pages.")
    for member in members:
        yield _member(path, archive, member)


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Incoming:
    label = f"{shown(path)}: {printable(member.filename)}"
    if not member.filename.lower().endswith(".json"):
        raise Unusable(f"{label} is not a JSON file. A ZIP to import may contain only pages.")
    if is_encrypted(member):
        raise Unusable(f"{label} is encrypted. Extract the ZIP, and import the pages.")
    inner = PurePosixPath(member.filename)
    # The member is checked while it is read, in bounded memory.
    return Incoming(
        label,
        f"{path}/{inner.parent}",
        inner.name,
        member.file_size,
        lambda: archive.open(member),
        Form.LIST,
        _DAMAGED_ZIP,
        largest_read(member),
    )
