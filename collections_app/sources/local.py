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

REPLACEMENT_HINT = "It is replaced automatically while “Copy results here” is on. Otherwise, run `mirror`."

_TEST_CONTENT = b"ready"


@dataclass(frozen=True)
class StoredBody:
    """A file in the results storage."""

    key: str
    size: int

    def open(self, start: int, length: int) -> BinaryIO:
        """Open the file at `start`.

        Raises ResultNotFound if the file is missing or damaged, SourceUnavailable or SourceTimeout if the
        storage can't be read.
        """
        try:
            file = results().open_part(self.key, start, length)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
            logger.error("Can't open %s in the results storage: %s", self.key, error.strerror)  # noqa: TRY400
            raise ResultNotFound("The file is missing from the results storage. Tell the operator.") from None
        except TimeoutError:
            logger.error("Can't open %s in the results storage: timeout", self.key)  # noqa: TRY400
            raise SourceTimeout("The results storage took too long to respond. Try again later.") from None
        except OSError as error:
            logger.error("Can't open %s in the results storage: %s", self.key, error.strerror)  # noqa: TRY400
            raise SourceUnavailable("The results storage is not available. Try again later.") from error
        size: int = file.size  # type: ignore[attr-defined]
        if size != self.size:
            file.close()
            logger.error("%s has %d bytes, not %d. Restore it from a backup.", self.key, size, self.size)
            raise ResultNotFound("The file in the results storage is damaged. Tell the operator.")
        return file

    def location(self) -> FileLocation:
        """Return where the file is. Raises SourceUnavailable."""
        try:
            signed = results().signed_request(self.key)
        except OSError as error:
            logger.error("Can't sign a request for %s: %s", self.key, error.strerror)  # noqa: TRY400
            raise SourceUnavailable("The results storage is not available. Try again later.") from error
        return FileLocation(self.key) if signed is None else FileLocation(*signed)


def can_write_and_read() -> bool:
    """Write a small file to the results storage and read it. Return whether the content is the same.

    Raises OSError.
    """
    storage, name = results(), f".ready-{secrets.token_hex(8)}"
    with storage.open(name, "wb") as file:
        file.write(_TEST_CONTENT)
    try:
        with storage.open(name, "rb") as file:
            return bool(file.read() == _TEST_CONTENT)
    finally:
        storage.delete(name)


class LocalSource:
    """Results that this site wrote. Their rows are always current."""

    def refresh(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Do nothing: each run is written along with its rows."""
        return Freshness(as_of=timezone.now())

    def load_older(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Do nothing: all runs have rows."""
        return Freshness(as_of=timezone.now())

    def size(self, file: ResultFile) -> int:
        """Return the size in the row."""
        assert file.size is not None
        return file.size

    def body(self, file: ResultFile) -> Body:
        """Return the stored file. Raises NotTheFile if it is known to be damaged."""
        if file.is_damaged:
            raise NotTheFile(f"The copy of this file is damaged. {REPLACEMENT_HINT}")
        return StoredBody(file.key, self.size(file))
