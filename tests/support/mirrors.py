"""A fake account, for tests that copy its files."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import BinaryIO

import pytest

from collections_app.management import worker
from collections_app.management.commands import mirror
from collections_app.models import FileKind, ResultFile, Run
from collections_app.records.formats.category_csv import write_category_csv
from collections_app.sources import ResultNotFound
from collections_app.sources.local import LocalSource
from tests.support.results import records


class Files(LocalSource):
    """A fake account: the content of files by their names there, and the names that were opened."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents
        self.announced: dict[str, int] = {}  # sizes that differ from the actual ones
        self.missing: type[Exception] = ResultNotFound  # raised for a file that doesn't exist
        self.opened: list[str] = []
        self.on_open: Callable[[str], object] = lambda name: None
        self.on_read: Callable[[], object] = lambda: None

    def size(self, file: ResultFile) -> int:
        """Return the announced size of a file."""
        if file.remote_name not in self.contents:
            raise self.missing("The account no longer has this file.")
        return self.announced.get(file.remote_name, len(self.contents[file.remote_name]))

    def body(self, file: ResultFile) -> "FileThere":
        """Return the body of a file."""
        return FileThere(self, file.remote_name)


class FileThere:
    """The body of a file at the fake account."""

    def __init__(self, files: Files, name: str) -> None:
        self._files = files
        self._name = name

    def open(self, start: int, length: int) -> BinaryIO:
        """Return a stream of all bytes, starting at `start`."""
        self._files.opened.append(self._name)
        self._files.on_open(self._name)
        return Stream(self._files.contents[self._name][start:], self._files)


class Stream(io.BytesIO):
    """A stream that returns small pieces."""

    def __init__(self, content: bytes, files: Files) -> None:
        super().__init__(content)
        self._files = files

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most 100 bytes."""
        self._files.on_read()
        return super().read(size if size is not None and 0 <= size < 100 else 100)


def files_of(run: Run, *, zip_method: int = zipfile.ZIP_DEFLATED) -> Files:
    """Return a fake account with a run's files: pages of two records each, and their ZIP."""
    contents: dict[str, bytes] = {}
    for file in run.files.order_by("position"):
        if file.kind in {FileKind.PAGE, FileKind.CATEGORY_LIST}:
            # Unlike our own formatting.
            text = json.dumps(records(2, first=2 * file.position + 1), indent=3)
            contents[file.remote_name] = f" {text}".encode()
        elif file.kind == FileKind.ARCHIVE:
            archive = file.remote_name
    if not run.collection.is_category:
        contents[archive] = zip_of(contents, zip_method)
    return Files(contents)


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a reproducible ZIP of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return out.getvalue()


def csv_of(content: bytes) -> bytes:
    """Return the CSV of a category list."""
    out = io.BytesIO()
    write_category_csv(json.loads(content), out)
    return out.getvalue()


def pretend(monkeypatch: pytest.MonkeyPatch, *runs: Run) -> Files:
    """Let commands find the files of these runs at every account."""
    contents: dict[str, bytes] = {}
    for run in runs:
        contents |= files_of(run).contents
    files = Files(contents)
    monkeypatch.setattr(mirror, "AccountSource", lambda: files)
    monkeypatch.setattr(worker, "AccountSource", lambda: files)
    return files
