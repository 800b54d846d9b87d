"""Runs of a collection and the result files of each run."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, ClassVar, NamedTuple, Self

from django.db import models, transaction
from django.db.models import F, OuterRef, Prefetch, Q, Subquery, prefetch_related_objects
from django.utils import timezone
from django.utils.functional import cached_property

from collections_app.models.collections import Collection
from collections_app.models.expectations import expect_next_run
from collections_app.models.run_status import (
    IS_EMPTY,
    IS_INCOMPLETE,
    State,
    Status,
    StatusFacts,
    in_status,
    unscraped,
)
from collections_app.models.teams import User

# The number of completed runs whose steps tell how long a run may make no progress.
_RUNS_TO_LEARN_FROM = 20

# The value of `announced` for runs that existed before events were recorded.
PAST = "past"
# The condition of an index, so it has no simpler form.
UNANNOUNCED = ~Q(announced=PAST) & ~Q(announced=F("state"))


class NotDownloadable(Exception):
    """Nothing can be downloaded. The message says why."""


class RunFailed(NotDownloadable):
    """The run failed, so it will never have files."""


@dataclass(frozen=True)
class Cursor:
    """A position in the list of runs, newest first. It appears in URLs, so it contains no primary key."""

    created_at: datetime
    number: int


class RunQuerySet(models.QuerySet["Run"]):
    """Queries for runs."""

    @transaction.atomic
    def create_next(self, collection: Collection, **fields: object) -> "Run":
        """Create the collection's next run, as Processing, with the next free number."""
        Collection.objects.filter(pk=collection.pk).update(last_run_number=F("last_run_number") + 1)
        collection.refresh_from_db(fields=["last_run_number"])
        run = self.create(collection=collection, number=collection.last_run_number, **fields)
        expect_next_run(collection)
        return run

    def newest_first(self) -> Self:
        """Sort in the order of all lists of runs. Runs with equal times are sorted by number."""
        return self.order_by("-created_at", "-number")

    def before(self, cursor: Cursor | None) -> Self:
        """Return runs that are older than the cursor, or all runs without a cursor."""
        if cursor is None:
            return self
        # The first condition is redundant. It lets the database start within the index; without it, a page at
        # depth 900,000 takes 160 times as long on SQLite.
        return self.filter(
            Q(created_at__lte=cursor.created_at),
            Q(created_at__lt=cursor.created_at) | Q(number__lt=cursor.number),
        )

    def before_number(self, number: int) -> Self:
        """Return runs that are older than the run with this number.

        An unknown or deleted run is assumed to follow the run with the next lower number.
        """
        nearest = self.filter(number__lte=number).order_by("-number").values_list("created_at", flat=True)
        created_at = nearest.first()
        return self.none() if created_at is None else self.before(Cursor(created_at, number))

    def after(self, cursor: Cursor | None) -> Self:
        """Return runs that are newer than the cursor, or all runs without a cursor."""
        if cursor is None:
            return self
        return self.filter(
            Q(created_at__gte=cursor.created_at),
            Q(created_at__gt=cursor.created_at) | Q(number__gt=cursor.number),
        )

    def with_status(self, *statuses: Status) -> Self:
        """Return runs that have one of the statuses now."""
        return self.filter(in_status(*statuses))

    def longest_recent_step(self) -> timedelta | None:
        """Return the longest time between two steps of the newest completed runs, or None if unknown."""
        ready = self.filter(state=State.READY).newest_first()
        steps = ready.values_list("longest_step", flat=True)[:_RUNS_TO_LEARN_FROM]
        return max((step for step in steps if step is not None), default=None)

    def to_keep(self) -> Self:
        """Return ready runs with files that are only at the account, the oldest first."""
        return self.filter(state=State.READY, is_kept=False).order_by("created_at", "number")

    def to_slice(self) -> Self:
        """Return ready runs that need a slice."""
        return self.filter(state=State.READY, needs_slice=True)

    def with_files(self) -> Self:
        """Prefetch the files that may be downloaded as `ready_files`, in order."""
        ready_files = ResultFile.objects.filter(run__state=State.READY).order_by("position")
        return self.prefetch_related(Prefetch("files", queryset=ready_files, to_attr="ready_files"))

    def ready_run(self, number: int) -> "Run":
        """Return the ready run with this number. Raises NotDownloadable."""
        return check_ready(number, self.filter(number=number).first())

    def ready_runs(self, numbers: Sequence[int]) -> "list[Run]":
        """Return the ready runs with these numbers, in the same order. Raises NotDownloadable."""
        found = {run.number: run for run in self.filter(number__in=numbers)}
        return [check_ready(number, found.get(number)) for number in numbers]

    def latest_ready(self) -> "Run":
        """Return the newest ready run. Raises NotDownloadable."""
        run = self.filter(state=State.READY).newest_first().first()
        if run is None:
            raise NotDownloadable("This collection has no completed run yet.")
        return run


def check_ready(number: int, run: "Run | None") -> "Run":
    """Return the run, which was looked up by its number. Raises NotDownloadable unless it is ready."""
    if run is None:
        raise NotDownloadable(f"This collection has no run {number}.")
    if run.state == State.PROCESSING:
        raise NotDownloadable(f"Run {number} is still processing. Try again once it is completed.")
    if run.state == State.FAILED:
        raise RunFailed(f"Run {number} failed, so it has no files.")
    return run


class Run(models.Model):
    """One execution of a collection. The vendor calls it a runner. URLs contain its `number`."""

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="runs")
    number = models.PositiveBigIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PROCESSING)
    failure_reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    # NULL if the account doesn't report them.
    extracted = models.PositiveBigIntegerField("records scraped", null=True, blank=True, default=0)
    total = models.PositiveBigIntegerField("records requested", null=True, blank=True, default=0)
    file_count = models.PositiveIntegerField(default=0)
    # Whether all files are in our own storage. An account's run is kept once all of its files are copied.
    is_kept = models.BooleanField("kept here", default=False, editable=False)
    # Whether the worker has to create the slice of the run, once the run is ready.
    needs_slice = models.BooleanField(db_default=True, editable=False)
    # The state that was last seen when events were recorded: "", "stalled", or a value of State. PAST for
    # runs that cause no events.
    announced = models.CharField(max_length=10, blank=True, editable=False)
    # The last progress of an unfinished run, the longest time between two steps, and when the run stalls.
    progressed_at = models.DateTimeField(null=True, blank=True, editable=False)
    longest_step = models.DurationField(null=True, blank=True, editable=False)
    stalls_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The token and the lease of the only process that writes or copies the files. Without a lease, none does.
    attempt = models.CharField(max_length=16, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Whether to delete the run instead of failing it if its writer is killed: the user uploads it again.
    discard_if_killed = models.BooleanField(db_default=False, editable=False)
    # Pinned runs are kept. Runs that the collection doesn't keep have a time of deletion (retention.py).
    pinned_at = models.DateTimeField(null=True, blank=True, editable=False)
    pinned_by = models.ForeignKey(
        User,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        db_index=False,
        related_name="+",
    )
    delete_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects: ClassVar[models.Manager["Run"]] = RunQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["collection", "number"], name="run_number_once_per_collection"),
            models.CheckConstraint(condition=Q(state__in=State.values), name="run_known_state"),
            models.CheckConstraint(
                condition=~Q(state=State.READY) | Q(file_count__gt=0), name="run_ready_has_files"
            ),
            models.CheckConstraint(
                condition=Q(state=State.FAILED, failure_reason__gt="")
                | (~Q(state=State.FAILED) & Q(failure_reason="")),
                name="run_failed_has_a_reason",
            ),
            models.CheckConstraint(condition=Q(extracted__gte=0, total__gte=0), name="run_counts_from_zero"),
        ]
        indexes = [
            models.Index(fields=["collection", "-created_at", "-number"], name="run_newest_first"),
            # Finds the newest runs of a state quickly, however rare they are.
            models.Index(fields=["collection", "state", "-created_at", "-number"], name="run_by_state"),
            # Finds the few runs whose leases have expired.
            models.Index(
                fields=["lease_expires_at"],
                condition=Q(state=State.PROCESSING),
                name="run_being_written",
            ),
            # Find the runs that need attention, however rare they are.
            models.Index(
                fields=["collection", "-created_at", "-number"],
                condition=Q(state__in=[State.FAILED, State.PROCESSING]),
                name="run_unready",
            ),
            models.Index(
                fields=["collection", "-created_at", "-number"],
                condition=IS_INCOMPLETE & Q(state=State.READY),
                name="run_incomplete",
            ),
            models.Index(
                fields=["collection", "-created_at", "-number"],
                condition=IS_EMPTY & Q(state=State.READY),
                name="run_empty",
            ),
            # Finds the runs that haven't been copied from an account. The state is constant; including it
            # lets SQLite prefer this index to run_by_state.
            models.Index(
                fields=["collection", "state", "created_at", "number"],
                condition=Q(state=State.READY, is_kept=False),
                name="run_to_keep",
            ),
            # Find the newest runs without a slice, for each of the two queues. Again, the state is constant.
            models.Index(
                fields=["collection", "state", "-created_at", "-number"],
                condition=Q(state=State.READY, needs_slice=True, is_kept=True),
                name="run_to_slice",
            ),
            models.Index(
                fields=["collection", "state", "-created_at", "-number"],
                condition=Q(state=State.READY, needs_slice=True, is_kept=False),
                name="run_to_slice_remotely",
            ),
            # Finds the runs whose state isn't announced.
            models.Index(
                fields=["collection", "created_at", "number"], condition=UNANNOUNCED, name="run_unannounced"
            ),
            # Find the few runs that are pinned or will be deleted.
            models.Index(
                fields=["collection", "-created_at", "-number"],
                condition=Q(pinned_at__isnull=False),
                name="run_pinned",
            ),
            models.Index(fields=["pinned_by"], condition=Q(pinned_by__isnull=False), name="run_pinned_by"),
            models.Index(
                fields=["collection", "delete_at"],
                condition=Q(delete_at__isnull=False),
                name="run_to_delete",
            ),
        ]

    def __str__(self) -> str:
        return f"Run {self.number} of {self.collection_id}"

    ready_files: list["ResultFile"]
    last_pages: list["ResultFile"]

    @transaction.atomic
    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the run and the rows of its files. The collection's next run is expected earlier then."""
        deleted = super().delete(*args, **kwargs)
        expect_next_run(self.collection)
        return deleted

    @property
    def is_ready(self) -> bool:
        """Whether the run is complete, so that its files may be downloaded."""
        return self.state == State.READY

    @property
    def status(self) -> Status:
        """The status of the run now."""
        until = self.collection.observed_until
        return StatusFacts(self.state, self.extracted, self.total, self.stalls_at, until).status

    @property
    def is_pinned(self) -> bool:
        """Whether retention never deletes the run."""
        return self.pinned_at is not None

    @property
    def duration(self) -> timedelta | None:
        """The time that a ready run took, or None."""
        return self.updated_at - self.created_at if self.is_ready else None

    @property
    def missing(self) -> int:
        """The number of requested records that a completed run didn't find, or 0 if unknown."""
        return self.unscraped if self.is_ready else 0

    @property
    def unscraped(self) -> int:
        """The number of requested records that haven't been scraped, or 0 if unknown."""
        return unscraped(self.extracted, self.total)

    @property
    def is_partial(self) -> bool:
        """Whether a complete run has fewer records than were requested."""
        return self.missing > 0

    @property
    def cursor(self) -> Cursor:
        """The run's position in the list."""
        return Cursor(self.created_at, self.number)

    def record_files(self) -> list["ResultFile"]:
        """Return the files that contain the run's records, in order. Use prefetched files if possible."""
        if "ready_files" in vars(self):
            return [file for file in self.ready_files if file.has_records] if self.is_ready else []
        return list(self.files.with_records())

    def all_files(self) -> list["ResultFile"]:
        """Return the files of a ready run. Raises ResultFile.DoesNotExist if the run has been deleted."""
        files = list(self.files.order_by("position", "name"))
        if not files:
            raise ResultFile.DoesNotExist(f"Run {self.number} has been deleted.")
        return files

    @cached_property
    def pages(self) -> list["ResultFile"]:
        """The page files of a ready run, in order. Needs with_files() or prefetch_first_files()."""
        return self._ready_files_of(FileKind.PAGE)

    @cached_property
    def page_count(self) -> int:
        """The number of pages of a ready run, even if only the first ones are prefetched."""
        return self.file_count - sum(file.kind != FileKind.PAGE for file in self.ready_files)

    @cached_property
    def archive(self) -> "ResultFile | None":
        """The ZIP of a ready product run. Needs with_files()."""
        return self._only(FileKind.ARCHIVE)

    @cached_property
    def category_list(self) -> "ResultFile | None":
        """The JSON list of a ready category run. Needs with_files()."""
        return self._only(FileKind.CATEGORY_LIST)

    @cached_property
    def category_csv(self) -> "ResultFile | None":
        """The CSV of a ready category run. Needs with_files()."""
        return self._only(FileKind.CATEGORY_CSV)

    def _only(self, kind: "FileKind") -> "ResultFile | None":
        return next(iter(self._ready_files_of(kind)), None)

    def _ready_files_of(self, kind: "FileKind") -> list["ResultFile"]:
        # The files are read after the runs, so a run may have become ready in between.
        return [file for file in self.ready_files if file.kind == kind] if self.is_ready else []


class FileKind(models.TextChoices):
    """The kind of a result file."""

    PAGE = "page", "Page"
    ARCHIVE = "archive", "ZIP"
    CATEGORY_LIST = "category_list", "Category list"
    CATEGORY_CSV = "category_csv", "Category CSV"


# Files that contain records. The other files are derived from them.
KINDS_OF_RECORDS = (FileKind.PAGE, FileKind.CATEGORY_LIST)


class CountUpTo(Subquery):
    """The number of runs in a query, up to a limit."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) AS counted)"
    output_field = models.IntegerField()

    def __init__(self, limit: int, runs: RunQuerySet) -> None:
        super().__init__(runs.values("pk")[:limit])


def count_by_status(collection: Collection, runs: RunQuerySet, limit: int) -> dict[Status, int]:
    """Return how many of the collection's runs have each status, up to `limit` each, in one query."""
    counts = [CountUpTo(limit, runs.with_status(status).order_by()) for status in Status]
    (row,) = Collection.objects.filter(pk=collection.pk).values_list(*counts)
    return dict(zip(Status, row, strict=True))


def prefetch_latest_runs(collections: Sequence[Collection]) -> None:
    """Prefetch `latest_run`, which may be None, in one query."""
    newest = Run.objects.filter(collection=OuterRef("pk")).newest_first().values("pk")[:1]
    listed = Collection.objects.filter(pk__in=[collection.pk for collection in collections])
    runs = Run.objects.filter(pk__in=listed.values(newest_run=Subquery(newest)))
    by_collection = {run.collection_id: run for run in runs}
    for collection in collections:
        collection.latest_run = run = by_collection.get(collection.pk)
        if run is not None:
            run.collection = collection


def prefetch_first_files(runs: Sequence[Run], pages: int) -> None:
    """Prefetch `ready_files` for ready runs in one query, with only the first pages.

    However many pages a run has, the database reads only these.
    """
    # The kinds let the database start within the index for each of them.
    first = ResultFile.objects.filter(kind__in=FileKind.values, position__lte=pages).order_by("position")
    prefetch_related_objects(runs, Prefetch("files", queryset=first, to_attr="ready_files"))


def prefetch_last_pages(runs: Sequence[Run], pages: int) -> None:
    """Prefetch `last_pages`, the last pages that are written, in two queries.

    However many pages a run has, the database reads only these.
    """
    written = ResultFile.objects.filter(kind=FileKind.PAGE)
    newest = written.filter(run=OuterRef("pk")).order_by("-position").values("position")[:1]
    counted = Run.objects.filter(pk__in=[run.pk for run in runs]).annotate(last=Subquery(newest))
    begun = counted.exclude(last=None).values_list("pk", "last")
    wanted = [Q(run=pk, position__gt=last - pages) for pk, last in begun]
    found = written.filter(reduce(or_, wanted)).order_by("run_id", "position") if wanted else ()
    by_run: dict[int, list[ResultFile]] = {}
    for page in found:
        by_run.setdefault(page.run_id, []).append(page)
    for run in runs:
        run.last_pages = by_run.get(run.pk, [])


class FileNames(NamedTuple):
    """The names of a ready run's files."""

    pages: list[str]
    others: dict[str, str]  # by their kinds


class ResultFileQuerySet(models.QuerySet["ResultFile"]):
    """Queries for result files."""

    def with_records(self) -> Self:
        """Return the files that contain records, in order. The other files are derived from them."""
        return self.filter(kind__in=KINDS_OF_RECORDS).order_by("position")

    def names_of(self, run_ids: Iterable[int]) -> dict[int, FileNames]:
        """Return the file names of runs by run id, in one query.

        For runs with thousands of pages, reading only the names is many times faster.
        """
        names = {run_id: FileNames([], {}) for run_id in run_ids}
        # The order of an index, so that the database doesn't sort.
        files = self.filter(run__in=names).order_by("run_id", "kind", "position")
        page = FileKind.PAGE.value
        for run_id, kind, name in files.values_list("run_id", "kind", "name"):
            if kind == page:
                names[run_id].pages.append(name)
            else:
                names[run_id].others[kind] = name
        return names


class ResultFile(models.Model):
    """A file of a run. Its name never changes. `key` is where its bytes are stored."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="files")
    kind = models.CharField(max_length=20, choices=FileKind.choices)
    position = models.PositiveIntegerField(help_text="The page's number, starting at 1. 0 for other files.")
    name = models.CharField(max_length=255)
    key = models.CharField(
        max_length=200,
        blank=True,
        help_text="The key in the results storage. Empty if the file is at the account.",
    )
    remote_name = models.CharField(
        max_length=1000,
        blank=True,
        help_text="The file's name at the account. Empty for files that we create.",
    )
    size = models.PositiveBigIntegerField(null=True, help_text="In bytes. Empty if unknown.")
    sha256 = models.CharField(max_length=64, blank=True)
    is_damaged = models.BooleanField(
        default=False,
        editable=False,
        help_text="Whether this copy of an account's file is damaged and has to be copied again.",
    )
    records = models.PositiveBigIntegerField(
        null=True, help_text="The number of records. Empty for a ZIP, or if unknown."
    )
    modified = models.DateTimeField(help_text="When the bytes were written, in whole seconds.")
    # The location of a page's deflated bytes in the run's ZIP. Other ZIPs of the page reuse them.
    archive_offset = models.PositiveBigIntegerField(null=True)
    archive_size = models.PositiveBigIntegerField(null=True)
    # The CRC of the uncompressed file, for ZIPs. NULL for files written by older versions.
    crc32 = models.PositiveBigIntegerField(null=True)
    # The range of a JSON list's bytes between its brackets. Set when it is first needed.
    list_start = models.PositiveBigIntegerField(null=True)
    list_end = models.PositiveBigIntegerField(null=True)

    objects: ClassVar[models.Manager["ResultFile"]] = ResultFileQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "name"], name="file_name_once_per_run"),
            models.UniqueConstraint(fields=["run", "kind", "position"], name="file_position_once_per_kind"),
            models.CheckConstraint(condition=Q(kind__in=FileKind.values), name="file_known_kind"),
            models.CheckConstraint(condition=Q(size__gte=0), name="file_size_not_negative"),
            models.CheckConstraint(
                condition=Q(archive_offset=None, archive_size=None) & (Q(crc32=None) | Q(crc32__gte=0))
                # Comparisons with NULL pass a check, so NULL has its own conditions.
                | Q(archive_offset__isnull=False, archive_size__isnull=False, crc32__isnull=False)
                & Q(archive_offset__gte=0, archive_size__gte=0, crc32__gte=0),
                name="file_archive_place_whole",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def has_records(self) -> bool:
        """Whether the file contains records. The other files are derived from those that do."""
        return self.kind in KINDS_OF_RECORDS

    @property
    def is_stored(self) -> bool:
        """Whether the bytes are in our own storage."""
        return bool(self.key)

    @property
    def etag(self) -> str:
        """The strong ETag of a file whose size is known.

        If the file is stored here, it has nginx's format, so that it is the same if nginx sends the file.
        """
        assert self.size is not None
        if self.key:
            return f'"{int(self.modified.timestamp()):x}-{self.size:x}"'
        collection, updated_at = self.run.collection, self.modified.isoformat()
        identity = (collection.account_id, collection.pk, self.run.number, self.name, updated_at, self.size)
        return f'"{hashlib.sha256(repr(identity).encode()).hexdigest()[:32]}"'
