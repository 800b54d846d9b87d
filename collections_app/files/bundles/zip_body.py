"""ZIPs whose members are already stored: only the headers and the directory are created."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from collections_app.files.bundles.pieces import JoinedBody, Part, Piece
from collections_app.files.zip import directory, new_entry


@dataclass(frozen=True)
class Member:
    """A file in a ZIP. `content` is its stored bytes, deflated or not."""

    name: str
    at: datetime
    size: int
    crc32: int
    content: Part
    is_deflated: bool


@dataclass(frozen=True)
class Zip:
    """A ZIP that can be read from any byte. Equal ZIPs of the same files have the same digest."""

    body: JoinedBody
    digest: str


def zip_of(members: Iterable[Member]) -> Zip:
    """Return the ZIP of these members, in their order. Members and ZIP can have any size (Zip64)."""
    pieces: list[Piece] = []
    entries = []
    # The digest covers all bytes but the content; of that, it covers the file, the position and the CRC.
    digest = hashlib.sha256()
    end = 0
    for member in members:
        entry = new_entry(member.name, member.at, is_deflated=member.is_deflated)
        entry.file_size, entry.compress_size, entry.CRC = member.size, member.content.length, member.crc32
        entry.header_offset = end
        header = entry.FileHeader()
        pieces.append(header)
        if member.content.length:
            pieces.append(member.content)
        entries.append(entry)
        digest.update(header + repr(member.content).encode())
        end += len(header) + member.content.length
    ending = directory(entries, end)
    digest.update(ending)
    return Zip(JoinedBody([*pieces, ending]), digest.hexdigest())
