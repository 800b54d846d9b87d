"""The files to import: the given files, unpacked, and the members of ZIPs among them."""

import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, cast

from isal import igzip

from collections_app.files.names import printable
from collections_app.files.zip import DIRECTORY_END, MEMBER, is_encrypted, largest_read
from collections_app.runs.incoming.compressed import BOMB, largest_content
from collections_app.runs.incoming.files import Incoming, Unusable, reading, shown
from collections_app.runs.incoming.forms import LINES_ENDINGS, Form, form_of
from collections_app.runs.incoming.page_order import NamedFile, in_page_order
from collections_app.runs.incoming.system_files import is_system_file

_GZIP = b"\x1f\x8b"
_GZIP_ENDING = ".gz"
# The first bytes of other compressed files.
_OTHER_COMPRESSION = {
    b"7z\xbc\xaf": "7-Zip",
    b"Rar!": "RAR",
    b"\xfd7zX": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    **{b"BZh%d" % level: "bzip2" for level in range(1, 10)},
}
_DAMAGED_GZIP = " is damaged or incomplete. Create or download it again."
_DAMAGED_ZIP = ": the ZIP is damaged or unsupported. Extract it, and import the files."
_MEMBER_ENDINGS = (".json", *LINES_ENDINGS)


def incoming_files(paths: list[Path], stack: ExitStack) -> list[Incoming]:
    """Return the files to import, in the order of in_page_order(), without system files.

    ZIPs stay open until the stack is closed. Raises Unusable, OSError.
    """
    named = [path for path in paths if not is_system_file(str(path))]
    if not named:
        raise Unusable(f"{shown(paths[0])} was added by an operating system and contains no results.")
    _check_paths(named)
    files = [file for path in named for file in _incoming(path, stack)]
    if {file.form for file in files} == {Form.LINES, Form.OBJECT}:
        # A file of JSON Lines with a single record looks like any other object.
        files = [replace(file, form=Form.LINES) for file in files]
    return [files[at] for at in in_page_order([NamedFile(file.folder, file.name) for file in files])]


def _check_paths(paths: list[Path]) -> None:
    first: dict[tuple[int, int], Path] = {}
    for path in paths:
        if not path.exists():
            raise Unusable(f"The file {shown(path)} doesn't exist.")
        if path.is_dir():
            raise Unusable(
                f"{shown(path)} is a folder. Pass the files in it, such as {shown(path / '*.json')}."
            )
        if not path.is_file():
            raise Unusable(f"{shown(path)} is not a file.")
        status = path.stat()
        other = first.setdefault((status.st_dev, status.st_ino), path)
        if other is not path:
            raise Unusable(f"{shown(other)} and {shown(path)} are the same file. Pass it once.")


def _incoming(path: Path, stack: ExitStack) -> list[Incoming]:
    # Some programs unpack a file while they download it, and keep its name.
    name = path.name.removesuffix(path.suffix) if path.suffix.lower() == _GZIP_ENDING else path.name
    file = Incoming(shown(path), str(path.parent), name, path.stat().st_size, lambda: path.open("rb"))
    head = file.head(len(MEMBER))
    if not head:
        raise Unusable(f"{file.label} is empty.")
    if head in {MEMBER, DIRECTORY_END}:
        return list(_members(path, stack))
    if head in _OTHER_COMPRESSION:
        raise Unusable(f"{file.label} is compressed with {_OTHER_COMPRESSION[head]}. Unpack it first.")
    return [_recognized(_unpacked(file, path) if head.startswith(_GZIP) else file)]


def _recognized(file: Incoming) -> Incoming:
    with file.open() as stream:
        return replace(file, form=form_of(file.name, stream))


def _unpacked(file: Incoming, path: Path) -> Incoming:
    """Return the content of a gzip file."""
    unpacked = replace(
        file,
        largest=largest_content(file.size),
        opener=lambda: _gunzip(path),
        damage=_DAMAGED_GZIP,
    )
    head = unpacked.head(len(MEMBER))
    if not head:
        raise Unusable(f"{file.label} is empty.")
    if head in {MEMBER, DIRECTORY_END}:
        raise Unusable(f"{file.label} contains a ZIP. Unpack it with gunzip, and import the ZIP.")
    if head.startswith(_GZIP):
        raise Unusable(f"{file.label} is compressed twice. Unpack it with gunzip, and import the result.")
    # Reading takes much less time than importing. Bombs and damaged files fail before anything is written.
    return unpacked.measured()


def _gunzip(path: Path) -> IO[bytes]:
    return cast(IO[bytes], igzip.open(path))  # type: ignore[no-untyped-call]


def _members(path: Path, stack: ExitStack) -> Iterator[Incoming]:
    with reading(shown(path), _DAMAGED_ZIP):
        archive = stack.enter_context(zipfile.ZipFile(path))
    members = [
        member for member in archive.infolist() if not member.is_dir() and not is_system_file(member.filename)
    ]
    if not members:
        raise Unusable(f"{shown(path)} is a ZIP without pages.")
    if sum(member.file_size for member in members) > largest_content(path.stat().st_size):
        raise Unusable(shown(path) + BOMB)
    if repeated := [name for name, count in Counter(each.filename for each in members).items() if count > 1]:
        raise Unusable(f"{shown(path)} contains {printable(repeated[0])} twice. Create the ZIP again.")
    for member in members:
        yield _recognized(_member(path, archive, member))


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Incoming:
    label = f"{shown(path)}: {printable(member.filename)}"
    if not member.filename.lower().endswith(_MEMBER_ENDINGS):
        raise Unusable(f"{label} is not a JSON file. A ZIP to import may contain only JSON and JSON Lines.")
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
        damage=_DAMAGED_ZIP,
        largest_read=largest_read(member),
    )
