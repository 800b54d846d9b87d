"""ZIPs whose members are stored already: only what a ZIP has around them is made."""

import hashlib
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from collections_app.files.bundles.pieces import JoinedBody, Part, Piece

# What the format can say.
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
_LAST_DATE = (2107, 12, 31, 23, 59, 58)


@dataclass(frozen=True)
class Member:
    """A file in a ZIP. `packed` are its bytes as they lie there: deflated, or as they are."""

    name: str
    at: datetime
    size: int
    crc32: int
    packed: Part
    is_deflated: bool


@dataclass(frozen=True)
class Zip:
    """A ZIP that can be read anywhere. Equal ZIPs of the same files have the same digest."""

    body: JoinedBody
    digest: str


def zip_of(members: Iterable[Member]) -> Zip:
    """Return the ZIP of these members, in their order. Members and ZIP may be of any size (Zip64)."""
    pieces: list[Piece] = []
    entries: list[zipfile.ZipInfo] = []
    # All bytes but the members' own are digested; those are told by file, place and CRC.
    digest = hashlib.sha256()
    end = 0
    for member in members:
        entry = _entry(member)
        entry.header_offset = end
        header = entry.FileHeader()
        pieces.append(header)
        if member.packed.length:
            pieces.append(member.packed)
        entries.append(entry)
        digest.update(header + repr(member.packed).encode())
        end += len(header) + member.packed.length
    contents = _contents(entries, end)
    digest.update(contents)
    return Zip(JoinedBody([*pieces, contents]), digest.hexdigest())


def _entry(member: Member) -> zipfile.ZipInfo:
    date = min(max(member.at.astimezone(UTC).timetuple()[:6], _FIRST_DATE), _LAST_DATE)
    entry = zipfile.ZipInfo(member.name, date)
    entry.compress_type = zipfile.ZIP_DEFLATED if member.is_deflated else zipfile.ZIP_STORED
    entry.external_attr = 0o644 << 16
    entry.file_size, entry.compress_size, entry.CRC = member.size, member.packed.length, member.crc32
    return entry


def _contents(entries: list[zipfile.ZipInfo], begin: int) -> bytes:
    """Return the table of contents, which begins after so many bytes."""
    out = _Sink(begin)
    # It begins where the file ends by now. zipfile lists the members that it is told of.
    with zipfile.ZipFile(out, "w") as archive:
        archive.filelist.extend(entries)
    return out.getvalue()


class _Sink(io.BytesIO):
    """A file that has so many bytes already, and can't be rewound."""

    def __init__(self, begin: int) -> None:
        super().__init__()
        self._begin = begin

    def tell(self) -> int:
        """Return how many bytes there are."""
        return self._begin + len(self.getbuffer())

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Refuse."""
        raise io.UnsupportedOperation("It can't be rewound.")
