"""Our own results storage as a source."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO, cast

from django.core.files.storage import storages
from django.utils import timezone

from collections_app.models import Collection, ResultFile
from collections_app.sources.base import Body, Freshness, ResultNotFound, SourceUnavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredBody:
    """The bytes that the results storage keeps under a key."""

    key: str
    size: int

    def open(self, start: int, length: int) -> BinaryIO:
        """Open the stored file at `start`.

        Raises ResultNotFound where it is missing or damaged, SourceUnavailable where it can't be opened now.
        """
        storage = storages["results"]
        try:
            file = storage.open(self.key, "rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
            logger.error("The results storage can't give %s: %s", self.key, error.strerror)  # noqa: TRY400
            raise ResultNotFound("The file is missing from the results storage. Tell the operator.") from None
        except OSError as error:
            logger.exception("The results storage can't give %s now", self.key)
            raise SourceUnavailable("The results storage can't be read now. Try again later.") from error
        if file.size != self.size:
            file.close()
            logger.error("%s has %d bytes, not %d; restore it from a backup", self.key, file.size, self.size)
            raise ResultNotFound("The file in the results storage is damaged. Tell the operator.")
        file.seek(start)
        return cast(BinaryIO, file)


class LocalSource:
    """Results that we wrote ourselves: the rows are always up to date."""

    def refresh(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Do nothing: whoever writes a run writes its rows."""
        return Freshness(as_of=timezone.now())

    def reach_back(self, collection: Collection, *, deadline: timedelta) -> Freshness:
        """Do nothing: all runs have rows."""
        return Freshness(as_of=timezone.now())

    def size(self, file: ResultFile) -> int:
        """Return the size that was written."""
        assert file.size is not None
        return file.size

    def body(self, file: ResultFile) -> Body:
        """Return the stored bytes of the file."""
        return StoredBody(file.key, self.size(file))
