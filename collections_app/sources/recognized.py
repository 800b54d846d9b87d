"""Recognize an account's files while they are delivered."""

import io
from typing import Any, BinaryIO

from collections_app.models import FileKind, ResultFile
from collections_app.records.formats.recognition import ENDING, NotRecognized, Recognizer, RecordList, Zip
from collections_app.sources.http import BodyStream


def recognizer_of(file: ResultFile) -> Recognizer:
    """Return the recognizer for a file that an account sends."""
    if file.kind == FileKind.ARCHIVE:
        return Zip()
    return RecordList(wrapped=file.kind == FileKind.CATEGORY_LIST)


class RecognizedStream(BodyStream):
    """Part of a file. Returns the file's last bytes only after checking that they end it."""

    def __init__(self, *args: Any, recognizer: Recognizer | None, **options: Any) -> None:
        """Take over a response. There is no recognizer if the part doesn't reach the file's end."""
        super().__init__(*args, **options)
        self._recognizer = recognizer
        self._end: BinaryIO | None = None

    def read(self, size: int | None = -1) -> bytes:
        """Return at most `size` bytes that have arrived or, without a size, all remaining bytes."""
        if size is None or size < 0 or self._recognizer is None:
            return super().read(size)
        before_the_end = self._remaining - ENDING
        if before_the_end > 0:
            return super().read(min(size, before_the_end))
        if self._end is None:
            self._end = io.BytesIO(self._checked_end(self._recognizer))
        return self._end.read(size)

    def _checked_end(self, recognizer: Recognizer) -> bytes:
        read = super().read
        end = b"".join(iter(lambda: read(ENDING), b""))
        try:
            recognizer.check_end(end)
        except NotRecognized as problem:
            self._break_off(f"the account sent {problem}")
        return end
