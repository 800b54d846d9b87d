"""Verify the files for comparing runs. They aren't results: damaged ones are created again."""

import hashlib
from collections.abc import Iterator

from collections_app.files.storage.base import results
from collections_app.models import Block, Comparison, Run, Slice
from collections_app.records.tracking import blocks, comparison_files, stored_slices

_BYTES = 1024 * 1024

_Stored = Slice | Comparison | Block


class TrackingVerifier:
    """Reads the slice, the comparisons and the block of runs. Blocks that runs share are read once."""

    def __init__(self) -> None:
        self._blocks: set[str] = set()

    def verify(self, run: Run) -> bool:
        """Read the files of a run. Return False if some are damaged or missing; they are created again then.

        Raises OSError.
        """
        damaged = [stored for stored in self._files_of(run) if not _is_intact(stored)]
        for stored in damaged:
            _forget(stored)
        return not damaged or not Run.objects.filter(pk=run.pk).exists()  # it may have been deleted meanwhile

    def _files_of(self, run: Run) -> Iterator[_Stored]:
        yield from Slice.objects.ready().filter(run=run)
        yield from Comparison.objects.filter(run=run).exclude(key="")
        for block in run.blocks.exclude(key__in=self._blocks):
            self._blocks.add(block.key)
            yield block


def _is_intact(stored: _Stored) -> bool:
    digest, size = hashlib.sha256(), 0
    try:
        with results().open(stored.key) as file:
            while data := file.read(_BYTES):
                digest.update(data)
                size += len(data)
    except FileNotFoundError:
        return False
    # Older rows don't have a hash.
    return (size, digest.hexdigest()) == (stored.size, stored.sha256 or digest.hexdigest())


def _forget(stored: _Stored) -> None:
    match stored:
        case Slice():
            stored_slices.forget(stored)
        case Comparison():
            comparison_files.delete_file(stored)
        case Block():
            blocks.delete([stored])
