"""Blocks: files that make the history of a product fast to read.

Each slice becomes a block of one run. Four blocks of the same level are merged into one of the next level, up
to 64 runs. So the products of a year are in about 15 files, and each run is written four times.

A block appears in one transaction, which also deletes those that it replaces. The process that creates it
holds the lease of the collection's settings. If it is killed, another one starts again.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet, Sum

from collections_app.files.storage.base import check_free_space, results
from collections_app.files.storage.cache import local_copy
from collections_app.models import Block, Run, Slice, TrackingSettings
from collections_app.records.tracking import databases
from collections_app.records.tracking.block_files import VERSION, BlockWriter
from collections_app.records.tracking.stored_slices import existing_slice
from collections_app.runs.lease import kept_renewed, lapsed, new_attempt, new_expiry
from collections_app.runs.new_file import NewFile, store
from collections_app.runs.strays import key_of, remove_temporary_folders, repair_folder

FOLDER, SCRATCH = databases.BLOCKS, databases.BLOCK_SCRATCH
_FILE = "block.parquet"
MERGED_AT_ONCE = 4
HIGHEST_LEVEL = 3
# Larger blocks aren't merged, because that would take too long.
_MOST_ROWS = 50_000_000
_SECONDS = 900.0


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
    held = TrackingSettings.objects.exclude(lease_expires_at=None).exclude(lapsed())
    paused = {*paused, *held.values_list("collection", flat=True)}
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
    attempt = new_attempt()
    free = TrackingSettings.objects.filter(Q(lease_expires_at=None) | lapsed(), pk=settings.pk)
    if not free.update(attempt=attempt, lease_expires_at=new_expiry()):
        raise Outdated
    mine = TrackingSettings.objects.filter(pk=settings.pk, attempt=attempt)
    try:
        with kept_renewed(mine) as is_lost:
            _build(task, settings, attempt, is_lost)
    finally:
        mine.update(lease_expires_at=None)


def _build(task: Task, settings: TrackingSettings, attempt: str, is_lost: Event) -> None:
    block = Block(
        collection_id=task.collection_id,
        run_count=len(task.runs),
        level=task.level,
        version=VERSION,
        settings_version=settings.version,
    )
    with SCRATCH.folder(attempt) as folder:
        block.records = _write(task, settings, folder)
        new = _store(folder / _FILE, key_of(FOLDER, settings, attempt), is_lost)
        block.key, block.size, block.sha256 = new.key, new.size, new.sha256
    try:
        _save(block, task, attempt)
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
    with databases.open_files(*sources, out, *parts, seconds=_SECONDS, threads=1) as database:
        return write(BlockWriter(database, out, parts))


def local_path(block: Block) -> Path:
    """Return the path of a block's file. An object is copied to the cache. Raises OSError."""
    return local_copy(block.key)


def _store(path: Path, key: str, is_lost: Event) -> NewFile:
    def check() -> None:
        if is_lost.is_set():
            raise Outdated

    check_free_space(path.stat().st_size)
    return store(path, key, check)


def _save(block: Block, task: Task, attempt: str) -> None:
    """Add a block, and delete those that it replaces. Raises Outdated."""
    try:
        with transaction.atomic():
            settings = TrackingSettings.objects.select_for_update().filter(collection=task.collection_id)
            if not settings.filter(version=block.settings_version, attempt=attempt).exists():
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


def forget_missing(blocks: Sequence[Block]) -> None:
    """Delete the blocks whose files are missing, so that they are created again. Raises OSError."""
    for block in blocks:
        try:
            results().get_modified_time(block.key)
        except FileNotFoundError:
            delete([block])


def tidy() -> None:
    """Delete files that no block needs, and blocks whose files are missing."""
    attempts = TrackingSettings.objects.exclude(lease_expires_at=None)
    remove_temporary_folders(SCRATCH, attempts)
    repair_folder(FOLDER, Block.objects.all(), forget=QuerySet.delete, attempts=attempts)
