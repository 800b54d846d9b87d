"""Blocks: files that make the history of a product fast to read.

Each slice becomes a block of one run. Four blocks of the same level are merged into one of the next level, up
to 64 runs. So the products of a year are in about 15 files, and each run is written four times.

A block appears in one transaction, which also deletes those that it replaces. A process that is killed leaves
only files without a row, which tidy() deletes.
"""

import secrets
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import IntegrityError, transaction
from django.db.models import Count, Sum

from collections_app.files.storage.base import check_free_space, results
from collections_app.files.storage.cache import local_copy
from collections_app.files.storage.scratch import Scratch
from collections_app.models import Block, Run, Slice, TrackingSettings
from collections_app.records.preview.engine import BUILDS, open_database
from collections_app.records.tracking.block_files import VERSION, BlockWriter
from collections_app.records.tracking.stored_slices import existing_slice
from collections_app.runs.new_file import store

# In the results storage. No collection has a folder with this name.
FOLDER = "blocks"
SCRATCH = Scratch("blocks")
_FILE = "block.parquet"
MERGED_AT_ONCE = 4
HIGHEST_LEVEL = 3
# Larger blocks aren't merged, because that would take too long.
_MOST_ROWS = 50_000_000
_SECONDS = 900.0
# A file without a row may belong to a process that is about to add the row.
_STRAY_AFTER_SECONDS = 3600


class Outdated(Exception):
    """The runs, the key or the other blocks have changed while a block was created."""


@dataclass(frozen=True)
class Task:
    """A block to create for these runs, and the blocks that it replaces. Without runs, they are deleted."""

    collection_id: int
    runs: Sequence[Run]
    level: int = 0
    replaced: Sequence[Block] = ()


def next_task(paused: Collection[int] = ()) -> Task | None:
    """Return the next block to create, or None. `paused` are the ids of collections to leave alone."""
    stale = Block.objects.stale(VERSION).exclude(collection__in=paused).order_by("pk").first()
    return _renewal(stale) if stale else _merge(paused) or _addition(paused)


def _renewal(stale: Block) -> Task:
    """Return the same block without the runs that have been deleted, or no block if the key has changed."""
    settings = TrackingSettings.objects.filter(collection=stale.collection_id).first()
    is_current = settings and (settings.version, VERSION) == (stale.settings_version, stale.version)
    runs = list(stale.runs.order_by("number")) if is_current else []
    return Task(stale.collection_id, runs, stale.level, [stale])


def _merge(paused: Collection[int]) -> Task | None:
    small = Block.objects.filter(level__lt=HIGHEST_LEVEL).exclude(collection__in=paused)
    groups = small.values_list("collection", "level").annotate(Count("pk"), Sum("records")).order_by()
    mergeable = groups.filter(pk__count__gte=MERGED_AT_ONCE)
    for collection_id, level, _, _ in mergeable.order_by("level", "collection"):
        found = Block.objects.filter(collection=collection_id, level=level).order_by("pk")
        blocks = list(found[:MERGED_AT_ONCE])
        if sum(block.records for block in blocks) <= _MOST_ROWS:
            runs = Run.objects.filter(blocks__in=blocks).order_by("number")
            return Task(collection_id, list(runs), level + 1, blocks)
    return None


def _addition(paused: Collection[int]) -> Task | None:
    """Return a block for the newest run that has a slice and no block."""
    ready = Slice.objects.ready().filter(run__blocks=None, run__collection__tracking__isnull=False)
    missing = ready.exclude(run__collection__tracking__key_columns=[]).exclude(run__collection__in=paused)
    newest = missing.select_related("run__collection__account").order_by("-run__created_at", "-run__number")
    found = newest.first()
    return Task(found.run.collection_id, [found.run]) if found else None


def build(task: Task) -> None:
    """Create a block. Raises Outdated, SliceUnavailable, QueryTimeout, UnreadableFile and OSError."""
    settings = TrackingSettings.objects.filter(collection=task.collection_id).first()
    if settings is None or not task.runs:
        delete(task.replaced)
        return
    # The name says how old the file is.
    name = f"{task.collection_id}-{int(time.time()):x}-{secrets.token_hex(8)}"
    block = Block(
        collection_id=task.collection_id,
        run_count=len(task.runs),
        level=task.level,
        version=VERSION,
        settings_version=settings.version,
        key=f"{FOLDER}/{name}.parquet",
    )
    with SCRATCH.folder(name) as folder:
        block.records = _write(task, settings, folder)
        block.size = _store(folder / _FILE, block.key)
    try:
        _save(block, task)
    except BaseException:
        results().delete(block.key)
        raise
    _delete_files(task.replaced)


def _write(task: Task, settings: TrackingSettings, folder: Path) -> int:
    """Write the rows of a block to a temporary file, and return their number."""
    if task.replaced:
        numbers = [run.number for run in task.runs]
        files = [local_path(block) for block in task.replaced]
        rows = sum(block.records for block in task.replaced)
        return _written(folder, files, rows, lambda writer: writer.write_blocks(files, numbers))
    (run,) = task.runs
    of = existing_slice(run)
    if of is None:
        raise Outdated
    return _written(
        folder, [of.path], run.slice.records, lambda writer: writer.write_slice(of, settings.key, run.number)
    )


def _written(folder: Path, sources: Sequence[Path], rows: int, write: Callable[[BlockWriter], int]) -> int:
    out, parts = folder / _FILE, [folder / f"part-{index}" for index in range(BlockWriter.parts(rows))]
    with open_database(*sources, out, *parts, seconds=_SECONDS, threads=1, semaphore=BUILDS) as database:
        return write(BlockWriter(database, out, parts))


def local_path(block: Block) -> Path:
    """Return the path of a block's file. An object is copied to the cache. Raises OSError."""
    return local_copy(block.key)


def _store(path: Path, key: str) -> int:
    """Store a file, and return its size."""
    check_free_space(path.stat().st_size)
    return store(path, key, lambda: None).size


def _save(block: Block, task: Task) -> None:
    """Add a block, and delete those that it replaces. Raises Outdated."""
    try:
        with transaction.atomic():
            settings = TrackingSettings.objects.select_for_update().filter(collection=task.collection_id)
            if not settings.filter(version=block.settings_version).exists():
                raise Outdated
            replaced = Block.objects.filter(pk__in=[each.pk for each in task.replaced])
            if replaced.count() < len(task.replaced):
                raise Outdated
            replaced.delete()
            if Block.runs.through.objects.filter(run__in=task.runs).exists():
                raise Outdated
            if Run.objects.filter(pk__in=[run.pk for run in task.runs]).count() < len(task.runs):
                raise Outdated
            block.save()
            block.runs.set(task.runs)
    except IntegrityError:  # a run has just been deleted
        raise Outdated from None


def delete(blocks: Sequence[Block]) -> None:
    """Delete blocks with their files."""
    Block.objects.filter(pk__in=[block.pk for block in blocks]).delete()
    _delete_files(blocks)


def _delete_files(blocks: Sequence[Block]) -> None:
    for block in blocks:
        results().delete(block.key)


def tidy() -> None:
    """Delete files that killed processes have left behind."""
    try:
        _, names = results().listdir(FOLDER)
    except FileNotFoundError:
        names = []
    kept = {key.rpartition("/")[2] for key in Block.objects.values_list("key", flat=True)}
    for name in names:
        if name not in kept and _is_old(name):
            results().delete(f"{FOLDER}/{name}")
    for folder in SCRATCH.folders():
        if _is_old(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def _is_old(name: str) -> bool:
    """Whether a file or folder was created so long ago that no process can be writing to it."""
    started = name.split("-")[1:2]
    try:
        age = time.time() - int(started[0], 16)
    except (IndexError, ValueError):
        return True
    # A time in the future was stored before the clock was set back.
    return not 0 <= age < _STRAY_AFTER_SECONDS
