"""Runs of a collection and the result files of each run."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import ClassVar, NamedTuple, Self

from django.db import models, transaction
from django.db.models import F, OuterRef, Prefetch, Q, Subquery, prefetch_related_objects
from django.utils import timezone
from django.utils.functional import cached_property

from collections_app.models.collections import Collection


class State(models.TextChoices):
    """Where a run stands."""

    PROCESSING = "processing", "Processing"
    READY = "ready", "Completed"
    FAILED = "failed", "Failed"


class NotDownloadable(Exception):
    """There is nothing to download there; the message says why, in plain English."""


class RunFailed(NotDownloadable):
    """The run ended without files, so waiting for them is in vain."""


@dataclass(frozen=True)
class Cursor:
    """A place in the list of runs, newest first: the run of this time and number.

    The number stands in for the primary key, which no address carries; it is unique within a
    collection just the same.
    """

    created_at: datetime
    number: int


class RunQuerySet(models.QuerySet["Run"]):
    """Questions about runs."""

    @transaction.atomic
    def create_next(self, collection: Collection, **fields: object) -> "Run":
        """Create the collection's next run, as Processing, with the next free number."""
        Collection.objects.filter(pk=collection.pk).update(last_run_number=F("last_run_number") + 1)
        collection.refresh_from_db(fields=["last_run_number"])
        return self.create(collection=collection, number=collection.last_run_number, **fields)

    def newest_first(self) -> Self:
        """In the order of every list of runs; the number decides between equal times."""
        return self.order_by("-created_at", "-number")

    def before(self, cursor: Cursor | None) -> Self:
        """Those that follow the cursor in newest_first()'s order; all of them without a cursor."""
        if cursor is None:
            return self
        # The first condition is redundant; with it the database starts at the right place of the
        # index. Without it, a page at depth 900,000 takes 160 times as long on SQLite.
        return self.filter(
            Q(created_at__lte=cursor.created_at),
            Q(created_at__lt=cursor.created_at) | Q(number__lt=cursor.number),
        )

    def after(self, cursor: Cursor | None) -> Self:
        """Those that are newer than the cursor; all of them without a cursor."""
        if cursor is None:
            return self
        return self.filter(
            Q(created_at__gte=cursor.created_at),
            Q(created_at__gt=cursor.created_at) | Q(number__gt=cursor.number),
        )

    def to_keep(self) -> Self:
        """The ready ones whose files, or some of them, are at the account alone; the oldest first."""
        return self.filter(state=State.READY, is_kept=False).order_by("created_at", "number")

    def with_files(self) -> Self:
        """With the files that may be downloaded, in their order, in one more query."""
        ready_files = ResultFile.objects.filter(run__state=State.READY).order_by("position")
        return self.prefetch_related(Prefetch("files", queryset=ready_files, to_attr="ready_files"))

    def ready_run(self, number: int) -> "Run":
        """Return a run that is ready. Raises NotDownloadable."""
        return _ready(number, self.filter(number=number).first())

    def ready_runs(self, numbers: Sequence[int]) -> "list[Run]":
        """Return runs that are ready, in the order of their numbers. Raises NotDownloadable for another."""
        found = {run.number: run for run in self.filter(number__in=numbers)}
        return [_ready(number, found.get(number)) for number in numbers]

    def latest_ready(self) -> "Run":
        """Return the newest run that is ready. Raises NotDownloadable."""
        run = self.filter(state=State.READY).newest_first().first()
        if run is None:
            raise NotDownloadable("This collection has no completed run yet.")
        return run


def _ready(number: int, run: "Run | None") -> "Run":
    if run is None:
        raise NotDownloadable(f"This collection has no run {number}.")
    if run.state == State.PROCESSING:
        raise NotDownloadable(f"Run {number} is still processing. Try again once it is completed.")
    if run.state == State.FAILED:
        raise RunFailed(f"Run {number} failed, so it has no files.")
    return run


class Run(models.Model):
    """One execution of a collection; the vendor's "runner". `number` is what every address carries."""

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="runs")
    number = models.PositiveBigIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PROCESSING)
    failure_reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    # NULL if the account doesn't report them.
    extracted = models.PositiveBigIntegerField("records scraped", null=True, blank=True, default=0)
    total = models.PositiveBigIntegerField("records asked for", null=True, blank=True, default=0)
    file_count = models.PositiveIntegerField(default=0)
    # Whether all files are in our own storage, as ours always are; an account's once they are copied.
    is_kept = models.BooleanField("kept here", default=False, editable=False)
    # Who writes or copies the files: a token of the only one, and until when it promised to be alive.
    # No lease: nobody does.
    attempt = models.CharField(max_length=16, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)

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
            # Of those in one state, the newest are found at once however few they are.
            models.Index(fields=["collection", "state", "-created_at", "-number"], name="run_by_state"),
            # Repair asks for the few runs whose lease has run out, among all there ever were.
            models.Index(
                fields=["lease_expires_at"],
                condition=Q(state=State.PROCESSING),
                name="run_being_written",
            ),
            # What is still to be copied from an account is found without passing what was copied. All of
            # them are in one state; naming it nevertheless lets SQLite choose this one before run_by_state.
            models.Index(
                fields=["collection", "state", "created_at", "number"],
                condition=Q(state=State.READY, is_kept=False),
                name="run_to_keep",
            ),
        ]

    def __str__(self) -> str:
        return f"Run {self.number} of {self.collection_id}"

    ready_files: list["ResultFile"]
    last_pages: list["ResultFile"]

    @property
    def is_ready(self) -> bool:
        """Whether the result set is complete; nothing may be downloaded before."""
        return self.state == State.READY

    @property
    def missing(self) -> int:
        """The number of requested records that a completed run didn't find, or 0 if unknown."""
        return self.unscraped if self.is_ready else 0

    @property
    def unscraped(self) -> int:
        """The number of requested records that haven't been scraped, or 0 if unknown."""
        if self.extracted is None or self.total is None:
            return 0
        return max(0, self.total - self.extracted)

    @property
    def is_partial(self) -> bool:
        """Whether a run that is complete has fewer records than were asked for."""
        return self.missing > 0

    @property
    def cursor(self) -> Cursor:
        """The run's place in the list."""
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
        """How many pages a ready run has, also where only the first ones were brought."""
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
        # The files are read after the runs: a run that was not ready then may have become so meanwhile.
        return [file for file in self.ready_files if file.kind == kind] if self.is_ready else []


class FileKind(models.TextChoices):
    """What a result file is."""

    PAGE = "page", "Page"
    ARCHIVE = "archive", "ZIP"
    CATEGORY_LIST = "category_list", "Category list"
    CATEGORY_CSV = "category_csv", "Category CSV"


# The files that hold a run's records; the others are made of them.
KINDS_OF_RECORDS = (FileKind.PAGE, FileKind.CATEGORY_LIST)


def prefetch_first_files(runs: Sequence[Run], pages: int) -> None:
    """Give ready runs their `ready_files`, of the pages the first ones alone, in one query for all.

    However many pages a run has, the database passes over no more of them than are brought.
    """
    # With the kinds named, it starts at the right place of the index for each of them.
    first = ResultFile.objects.filter(kind__in=FileKind.values, position__lte=pages).order_by("position")
    prefetch_related_objects(runs, Prefetch("files", queryset=first, to_attr="ready_files"))


def prefetch_last_pages(runs: Sequence[Run], pages: int) -> None:
    """Give runs their `last_pages` as far as they are written, in order, in two queries for all.

    However many pages a run has, the database passes over no more of them than are brought.
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
    """The names of a ready run's files; the kinds that it has none of stay empty."""

    pages: list[str]
    others: dict[str, str]  # by their kinds


class ResultFileQuerySet(models.QuerySet["ResultFile"]):
    """Queries for result files."""

    def with_records(self) -> Self:
        """Return the files that contain records, in order. The other files are derived from them."""
        return self.filter(kind__in=KINDS_OF_RECORDS).order_by("position")

    def names_of(self, run_ids: Iterable[int]) -> dict[int, FileNames]:
        """Return the names of the files of runs, by the runs' ids, in one query.

        Of runs with thousands of pages each, names alone are read many times faster than files.
        """
        names = {run_id: FileNames([], {}) for run_id in run_ids}
        # In the order of an index, so that nothing is sorted.
        files = self.filter(run__in=names).order_by("run_id", "kind", "position")
        page = FileKind.PAGE.value
        for run_id, kind, name in files.values_list("run_id", "kind", "name"):
            if kind == page:
                names[run_id].pages.append(name)
            else:
                names[run_id].others[kind] = name
        return names

    def downloadable(self, collection: Collection, number: int, name: str) -> "ResultFile":
        """Return a ready run's file with its run and collection. Raises NotDownloadable."""
        run = collection.runs.ready_run(number)
        # PostgreSQL can't hold a NUL and would raise an error for one.
        file = None if "\0" in name else run.files.filter(name=name).first()
        if file is None:
            raise NotDownloadable(f"Run {number} has no file of that name.")
        return file


class ResultFile(models.Model):
    """A file of a run. Its name is fixed when it is written; its bytes are found by `key` alone."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="files")
    kind = models.CharField(max_length=20, choices=FileKind.choices)
    position = models.PositiveIntegerField(help_text="A page's number, from 1 on; 0 for other files.")
    name = models.CharField(max_length=255)
    key = models.CharField(
        max_length=200,
        blank=True,
        help_text="Where the results storage keeps the bytes; empty: at the account.",
    )
    remote_name = models.CharField(
        max_length=1000, blank=True, help_text="The file's name at the account; empty for what we make."
    )
    size = models.PositiveBigIntegerField(null=True, help_text="In bytes; empty until it is known.")
    sha256 = models.CharField(max_length=64, blank=True)
    is_damaged = models.BooleanField(
        default=False,
        editable=False,
        help_text="Whether this copy of an account's file is damaged and has to be copied again.",
    )
    records = models.PositiveBigIntegerField(
        null=True, help_text="How many records; empty for a ZIP, and where it is not known."
    )
    modified = models.DateTimeField(help_text="When the bytes were written, in whole seconds.")
    # Where a page's deflated bytes lie in the run's ZIP, so that further archives of the same pages
    # can be put together without compressing again.
    archive_offset = models.PositiveBigIntegerField(null=True)
    archive_size = models.PositiveBigIntegerField(null=True)
    # Of the file itself, as every ZIP says it; files written before this was noted have none yet.
    crc32 = models.PositiveBigIntegerField(null=True)
    # Between which bytes of a JSON list its records stand, without the brackets; noted once it was asked for.
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
                # A comparison with NULL is no "no" to the database, hence the words about NULL.
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

        In nginx's own form where the bytes are ours, so that it stays the same when nginx moves them.
        """
        assert self.size is not None
        if self.key:
            return f'"{int(self.modified.timestamp()):x}-{self.size:x}"'
        collection, updated_at = self.run.collection, self.modified.isoformat()
        identity = (collection.account_id, collection.pk, self.run.number, self.name, updated_at, self.size)
        return f'"{hashlib.sha256(repr(identity).encode()).hexdigest()[:32]}"'
