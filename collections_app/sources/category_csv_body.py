"""The CSV of a category run at an account: converted from the category list, and kept in a bounded cache."""

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from collections_app.files.storage.cache import BuildFailed, cached
from collections_app.models import ResultFile
from collections_app.records.formats.category_csv import convert_category_list
from collections_app.records.formats.json_records import InvalidRecords
from collections_app.sources.base import SourceUnavailable
from collections_app.system import disk
from collections_app.system.serving import ClientDisconnected

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CategoryCsvBody:
    """The CSV of a category run at an account, converted from the run's category list."""

    file: ResultFile
    open_list: Callable[[], BinaryIO]  # returns the list from its beginning

    @property
    def size(self) -> int:
        """The size in bytes. The CSV is created unless it is in the cache. Raises what open() raises."""
        with self._entry() as entry:
            return os.fstat(entry.fileno()).st_size

    def open(self, start: int, length: int) -> BinaryIO:
        """Open the CSV. It is created unless it is in the cache. See Body."""
        entry = self._entry()
        size = os.fstat(entry.fileno()).st_size
        if size != self.file.size:
            entry.close()
            self._forget_size(size)
        entry.seek(start)
        return entry

    def _entry(self) -> BinaryIO:
        """Return the complete CSV. Raises ResultNotFound, SourceUnavailable, SourceTimeout."""
        try:
            return cached(self._name, self._write)
        except InvalidRecords as error:
            self._log(f"the list is damaged: {error}")
            raise SourceUnavailable(
                "The category list at the account is damaged. It can't be converted to CSV."
            ) from None
        except ClientDisconnected:
            raise SourceUnavailable("The client disconnected.") from None
        except BuildFailed:
            raise SourceUnavailable("Creating the CSV failed a moment ago. Try again.") from None
        except ConnectionError as error:
            self._log(str(error))
            raise SourceUnavailable("The connection to the account was lost. Try again.") from None
        except OSError as error:
            self._log(str(error.strerror))
            raise SourceUnavailable(
                "The CSV can't be stored, perhaps because the disk is full. Tell the operator."
            ) from None

    def _write(self, out: IO[bytes]) -> None:
        with self.open_list() as stream:
            convert_category_list(stream, cast(BinaryIO, out))

    @property
    def _name(self) -> str:
        """The name in the cache. Another list has another name, so its CSV is created again."""
        run = self.file.run
        account = run.collection.account_id
        identity = (account, run.collection_id, run.number, self.file.pk, self.file.modified.isoformat())
        return f"{hashlib.sha256(repr(identity).encode()).hexdigest()[:32]}.csv"

    def _forget_size(self, size: int) -> None:
        """Delete the stored size, because the list has changed."""
        self._log(f"the CSV has {size} bytes, not {self.file.size}")
        with disk.best_effort(f"that the size of file {self.file.pk} has changed"):
            ResultFile.objects.filter(pk=self.file.pk, key="").update(size=None)
        raise SourceUnavailable("The category list at the account has changed. Try again.")

    def _log(self, problem: str) -> None:
        run = self.file.run
        account = run.collection.account_id
        logger.warning(
            "upstream csv failed: account=%s collection=%s run=%s problem=%s",
            *(account, run.collection_id, run.number, problem),
        )
