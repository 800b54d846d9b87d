"""Folders for temporary files on this machine.

They are beside the cache of converted files, not in it, because they must not be evicted.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.files.storage import storages

from collections_app.files.storage.base import check_free_space
from collections_app.system.disk import RESERVE


class Scratch:
    """The folders of one kind of work. Each attempt has its own folder, named after its token."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def root(self) -> Path:
        """The folder that contains the others."""
        return Path(storages["converted"].path("")).with_name(self._name)

    def folder_of(self, attempt: str) -> Path:
        """Return the folder of an attempt, whether or not it exists."""
        return self.root / attempt

    @contextmanager
    def folder(self, attempt: str) -> Iterator[Path]:
        """Create the folder of an attempt for the duration of the block."""
        folder = self.folder_of(attempt)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def folders(self) -> list[Path]:
        """Return the folders of all attempts."""
        return list(self.root.iterdir()) if self.root.is_dir() else []

    def check_disks(self) -> None:
        """Raise OSError if this disk, or that of the results storage, is nearly full."""
        check_free_space(0)
        if shutil.disk_usage(self.root).free < RESERVE:
            raise OSError(errno.ENOSPC, "The disk is nearly full")
