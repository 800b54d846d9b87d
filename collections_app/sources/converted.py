"""What is made from an account's files: kept in a bounded cache, and delivered from there as a file."""

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
    """The CSV of a category run at an account, made from the run's list."""

    file: ResultFile
    open_list: Callable[[], BinaryIO]  # the whole list, from its beginning

    @property
    def size(self) -> int:
        """How many bytes the CSV has; makes it where it isn't in the cache. Raises as open() does."""
        with self._entry() as entry:
            return os.fstat(entry.fileno()).st_size

    def open(self, start: int, length: int) -> BinaryIO:
        """Open the CSV, making it where it isn't in the cache; see Body."""
        entry = self._entry()
        size = os.fstat(entry.fileno()).st_size
        if size != self.file.size:
            entry.close()
            self._forget_size(size)
        entry.seek(start)
        return entry

    def _entry(self) -> BinaryIO:
        """Return the whole CSV. Raises ResultNotFound, SourceUnavailable, SourceTimeout."""
        try:
            return cached(self._name, self._write)
        except InvalidRecords as error:
            self._log(f"the list is damaged: {error}")
            raise SourceUnavailable("The list at the account is damaged; no CSV can be made of it.") from None
        except ClientDisconnected:
            raise SourceUnavailable("The client disconnected.") from None
        except BuildFailed:
            raise SourceUnavailable("The CSV could not be made a moment ago. Try again.") from None
        except ConnectionError as error:
            self._log(str(error))
            raise SourceUnavailable("The account broke off in the middle of the list. Try again.") from None
        except OSError as error:
            self._log(str(error.strerror))
            raise SourceUnavailable(
                "The CSV can't be stored here, perhaps because the disk is full. Tell the operator."
            ) from None

    def _write(self, out: IO[bytes]) -> None:
        with self.open_list() as stream:
            convert_category_list(stream, cast(BinaryIO, out))

    @property
    def _name(self) -> str:
        """The entry's name: another list has another one, so that no old CSV is given for a new list."""
        run = self.file.run
        account = run.collection.account_id
        identity = (account, run.collection_id, run.number, self.file.pk, self.file.modified.isoformat())
        return f"{hashlib.sha256(repr(identity).encode()).hexdigest()[:32]}.csv"

    def _forget_size(self, size: int) -> None:
        """Let the size be learnt anew by whoever asks next: the list has changed since it was."""
        self._log(f"the CSV has {size} bytes, not {self.file.size}")
        with disk.best_effort(f"that the size of file {self.file.pk} has changed"):
            ResultFile.objects.filter(pk=self.file.pk, key="").update(size=None)
        raise SourceUnavailable("The list at the account is not the one that it was. Try again.")

    def _log(self, problem: str) -> None:
        run = self.file.run
        account = run.collection.account_id
        logger.warning(
            "upstream csv failed: account=%s collection=%s run=%s problem=%s",
            *(account, run.collection_id, run.number, problem),
        )
