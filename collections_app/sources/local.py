"""Our own results storage as a source."""

import logging
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO

from django.utils import timezone

from collections_app.files.storage.base import results
from collections_app.models import Collection, ResultFile
from collections_app.sources.base import (
    Body,
    FileLocation,
    Freshness,
    NotTheFile,
    ResultNotFound,
    SourceTimeout,
    SourceUnavailable,
)

logger = logging.getLogger(__name__)

REPLACEMENT_HINT = "It is replaced automatically while “Keep results here” is on. Otherwise, run `mirror`."

_TRIED = b"ready"


@dataclass(frozen=True)
class StoredBody:
    """The bytes that the results storage keeps under a key."""

    key: str
    size: int

    def open(self, start: int, length: int) -> BinaryIO:
        """Open the stored file at `start`.

        Raises ResultNotFound where it is missing or damaged, SourceUnavailable or SourceTimeout where it
        can't be opened now.
        """
        try:
            file = results().open_part(self.key, start, length)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
            logger.error("The results storage can't give %s: %s", self.key, error.strerror)  # noqa: TRY400
            raise ResultNotFound("The file is missing from the results storage. Tell the operator.") from None
        except TimeoutError:
            logger.error("The results storage can't give %s in time", self.key)  # noqa: TRY400
            raise SourceTimeout("The results storage takes too long to answer. Try again later.") from None
        except OSError as error:
            logger.error("The results storage can't give %s now: %s", self.key, error.strerror)  # noqa: TRY400
            raise SourceUnavailable("The results storage can't be read now. Try again later.") from error
        size: int = file.size  # type: ignore[attr-defined]
        if size != self.size:
            file.close()
            logger.error("%s has %d bytes, not %d; restore it from a backup", self.key, size, self.size)
            raise ResultNotFound("The file in the results storage is damaged. Tell the operator.")
        return file

    def location(self) -> FileLocation:
        """Return where the file is. Raises SourceUnavailable."""
        try:
            signed = results().signed_request(self.key)
        except OSError as error:
            logger.error("The results storage can't sign for %s: %s", self.key, error.strerror)  # noqa: TRY400
            raise SourceUnavailable("The results storage can't be read now. Try again later.") from error
        return FileLocation(self.key) if signed is None else FileLocation(*signed)


def can_write_and_read() -> bool:
    """Write a small file beside the results, read it and remove it; returns whether it came back the same.

    Raises OSError.
    """
    storage, name = results(), f".ready-{secrets.token_hex(8)}"
    with storage.open(name, "wb") as file:
        file.write(_TRIED)
    try:
        with storage.open(name, "rb") as file:
            return bool(file.read() == _TRIED)
    finally:
        storage.delete(name)


class LocalSource:
    """Results that we wrote ourselves: the rows are always up to date."""

    def refresh(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Do nothing: whoever writes a run writes its rows."""
        return Freshness(as_of=timezone.now())

    def load_older(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Do nothing: all runs have rows."""
        return Freshness(as_of=timezone.now())

    def size(self, file: ResultFile) -> int:
        """Return the size that was written."""
        assert file.size is not None
        return file.size

    def body(self, file: ResultFile) -> Body:
        """Return the stored bytes of the file. Raises NotTheFile if they are known to be damaged."""
        if file.is_damaged:
            raise NotTheFile(f"The copy of this file is damaged. {REPLACEMENT_HINT}")
        return StoredBody(file.key, self.size(file))
