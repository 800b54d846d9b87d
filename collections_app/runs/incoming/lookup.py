"""The files to import: the given files, unpacked, and the members of ZIPs among them."""

import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import PurePosixPath
from typing import IO, cast

from isal import igzip

from collections_app.files.names import printable
from collections_app.files.zip import DIRECTORY_END, MEMBER, is_encrypted, largest_read
from collections_app.runs.incoming.compressed import BOMB, largest_content
from collections_app.runs.incoming.files import Incoming, Unusable, reading
from collections_app.runs.incoming.forms import ENDINGS, Form, form_of
from collections_app.runs.incoming.page_order import NamedFile, in_page_order
from collections_app.runs.incoming.system_files import is_system_file

_GZIP = b"\x1f\x8b"
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
_MEMBER_ENDINGS = (*ENDINGS["json"], *ENDINGS["lines"])


def incoming_files(given: Sequence[Incoming], stack: ExitStack) -> list[Incoming]:
    """Return the files to import, in the order of in_page_order(), without system files.

    ZIPs stay open until the stack is closed. Raises Unusable.
    """
    wanted = [file for file in given if not is_system_file(f"{file.folder}/{file.name}")]
    if not wanted:
        raise Unusable(f"{given[0].label} was added by an operating system and contains no results.")
    files = [content for file in wanted for content in _contents(file, stack)]
    if {file.form for file in files} == {Form.LINES, Form.OBJECT}:
        # A file of JSON Lines with a single record looks like any other object.
        files = [replace(file, form=Form.LINES) for file in files]
    return [files[at] for at in in_page_order([NamedFile(file.folder, file.name) for file in files])]


def _contents(file: Incoming, stack: ExitStack) -> list[Incoming]:
    file = replace(file, name=_without_gzip_ending(file.name))
    head = file.head(len(MEMBER))
    if not head:
        raise Unusable(f"{file.label} is empty.")
    if head in {MEMBER, DIRECTORY_END}:
        return list(_members(file, stack))
    if head in _OTHER_COMPRESSION:
        raise Unusable(f"{file.label} is compressed with {_OTHER_COMPRESSION[head]}. Unpack it first.")
    return [_recognized(_unpacked(file) if head.startswith(_GZIP) else file)]


def _without_gzip_ending(name: str) -> str:
    # Some programs unpack a file while they download it, and keep its name.
    ending = PurePosixPath(name).suffix
    return name.removesuffix(ending) if ending.lower() in ENDINGS["gzip"] else name


def _recognized(file: Incoming) -> Incoming:
    with file.open() as stream:
        return replace(file, form=form_of(file.name, stream))


def _unpacked(file: Incoming) -> Incoming:
    """Return the content of a gzip file."""
    unpacked = replace(
        file,
        largest=largest_content(file.size),
        opener=lambda: cast(IO[bytes], _Gunzipped(file.opener())),
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


class _Gunzipped(igzip.IGzipFile):
    """The content of a gzip file. Closes the file as well, which IGzipFile doesn't."""

    def __init__(self, compressed: IO[bytes]) -> None:
        super().__init__(fileobj=compressed, mode="rb")  # type: ignore[no-untyped-call]
        self._compressed = compressed

    def close(self) -> None:
        """Close the file."""
        try:
            super().close()
        finally:
            self._compressed.close()


def _members(file: Incoming, stack: ExitStack) -> Iterator[Incoming]:
    with reading(file.label, _DAMAGED_ZIP):
        archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(file.opener())))
    members = [
        member for member in archive.infolist() if not member.is_dir() and not is_system_file(member.filename)
    ]
    if not members:
        raise Unusable(f"{file.label} is a ZIP without pages.")
    if sum(member.file_size for member in members) > largest_content(file.size):
        raise Unusable(file.label + BOMB)
    if repeated := [name for name, count in Counter(each.filename for each in members).items() if count > 1]:
        raise Unusable(f"{file.label} contains {printable(repeated[0])} twice. Create the ZIP again.")
    for member in members:
        yield _recognized(_member(file, archive, member))


def _member(file: Incoming, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Incoming:
    label = f"{file.label}: {printable(member.filename)}"
    if not member.filename.lower().endswith(_MEMBER_ENDINGS):
        raise Unusable(f"{label} is not a JSON file. A ZIP to import may contain only JSON and JSON Lines.")
    if is_encrypted(member):
        raise Unusable(f"{label} is encrypted. Extract the ZIP, and import the pages.")
    inner = PurePosixPath(member.filename)
    # The member is checked while it is read, in bounded memory.
    return Incoming(
        label,
        f"{file.folder}/{file.name}/{inner.parent}",
        inner.name,
        member.file_size,
        lambda: archive.open(member),
        damage=_DAMAGED_ZIP,
        largest_read=largest_read(member),
    )
