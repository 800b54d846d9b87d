"""Create exports: reuse a stored one, build a small one within the request, or queue it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import BinaryIO

from django.db import transaction
from django.db.models import Count, Q, Sum
from django.utils import timezone
from django.utils.datastructures import MultiValueDict

from collections_app.files.names import changes_name, export_name
from collections_app.models import Comparison, Export, ExportState, Layout, ResultFile, Run
from collections_app.models.queues import TooManyQueued, check_queue, note_use
from collections_app.records.column_list import parse_columns
from collections_app.records.exports import retention
from collections_app.records.exports.build import build_export
from collections_app.records.exports.changes import narrowed
from collections_app.records.exports.stored_spec import fields_of
from collections_app.records.exports.subject import InvalidSpec, Subject
from collections_app.records.formats.export_formats import COMMA, SEMICOLON, ExportSpec, Format
from collections_app.records.preview.filters import InvalidFilter, parse_filters
from collections_app.records.preview.search import LONGEST_SEARCH
from collections_app.records.tracking.change_queries import ChangeQuery
from collections_app.sources import Deliverable, ResultNotFound
from collections_app.sources.local import StoredBody

# How long a request builds a small export. After that, the background worker builds it.
_PATIENCE = 3.0  # seconds
# How many requests of a process build exports at a time. The worker builds the others, so pages stay fast.
_AT_ONCE = threading.BoundedSemaphore(2)
# How many bytes of records a busy machine can convert in about 3 seconds.
_QUICK = {
    Format.JSON: 50_000_000,
    Format.JSONL: 50_000_000,
    Format.CSV: 15_000_000,
    Format.XLSX: 2_000_000,
    Format.PARQUET: 20_000_000,
}
_QUICK_CHANGES = 20_000
# Opening more files than this takes too long: S3 needs two requests for each.
_QUICK_FILES = 100
# A request builds a failed export again only after this time, unless a user presses the button.
_REST = timedelta(seconds=10)

MOST_COLUMNS = 1000
_LONGEST_NAMES = 64_000
_TOO_MANY_COLUMNS = f"Choose at most {MOST_COLUMNS:,} columns, or none to export all columns."

# How many exports a team can have in the queue.
MOST_QUEUED = 50


def parse_format(text: str) -> Format | None:
    """Return the format with this name, or None."""
    return Format(text) if text in set(Format) else None


def parse_spec(
    wanted: Format, columns: Sequence[str], excel: str, separator: str = "", search: str = ""
) -> ExportSpec:
    """Return the spec for URL parameters or form fields. Raises InvalidSpec.

    Each of `columns` is a list such as `a,b`; see column_list.
    `excel` is "1" for a CSV for spreadsheets, and `separator` separates the columns of a CSV. Other formats
    ignore both. `search` limits the export to the records that match it.
    """
    if excel not in {"", "0", "1"}:
        raise InvalidSpec(
            "Invalid “excel” parameter. Use 1 for a CSV that is safe for spreadsheets, otherwise 0."
        )
    if separator not in {"", COMMA, SEMICOLON}:
        raise InvalidSpec("Invalid “separator” parameter. Use a comma or a semicolon.")
    search = search.replace("\0", "").strip()
    if len(search) > LONGEST_SEARCH:
        raise InvalidSpec(f"The search is too long. Use at most {LONGEST_SEARCH} characters.")
    names = _names(columns)
    if len(names) > MOST_COLUMNS or sum(map(len, names)) > _LONGEST_NAMES:
        raise InvalidSpec(_TOO_MANY_COLUMNS)
    if any("\0" in name for name in names):
        raise InvalidSpec("Invalid column name. Names can't contain null bytes.")
    chosen = tuple(dict.fromkeys(filter(None, names)))
    if wanted != Format.CSV:
        return ExportSpec(wanted, chosen, search=search)
    return ExportSpec(wanted, chosen, excel=excel == "1", separator=separator or COMMA, search=search)


def spec_of_options(
    wanted: Format, columns: Sequence[str], options: "MultiValueDict[str, str]"
) -> ExportSpec:
    """Return the spec for all options in a URL or a form. Raises InvalidSpec. See parse_spec()."""
    spec = parse_spec(
        wanted, columns, options.get("excel", ""), options.get("separator", ""), options.get("q", "")
    )
    spec = _with_filters(spec, options.getlist("filter"))
    return _allowing_missing(spec, options.get("missing", ""))


def _with_filters(spec: ExportSpec, texts: Sequence[str]) -> ExportSpec:
    """Return the spec, limited to the records that match filters in a URL. Raises InvalidSpec."""
    try:
        return replace(spec, filters=tuple(map(str, parse_filters(texts))))
    except InvalidFilter as error:
        raise InvalidSpec(str(error)) from None


def _allowing_missing(spec: ExportSpec, text: str) -> ExportSpec:
    """Return the spec. With "empty", chosen columns that no record has are empty. Raises InvalidSpec."""
    if text not in {"", "empty"}:
        raise InvalidSpec("Invalid “missing” parameter. Use empty to leave missing columns empty.")
    return replace(spec, allows_missing=text == "empty" and bool(spec.columns))


def _names(columns: Sequence[str]) -> list[str]:
    # Quoting can double the length.
    if sum(map(len, columns)) > 2 * _LONGEST_NAMES:
        raise InvalidSpec(_TOO_MANY_COLUMNS)
    try:
        return [name for text in columns for name in parse_columns(text)]
    except ValueError:
        raise InvalidSpec(
            "Invalid “columns” parameter. Use a list such as a,b, and quote names that contain a line break."
        ) from None


def create_export(run: Run, spec: ExportSpec, *, again: bool = False) -> Export:
    """Return the export with this spec, which may be ready, queued, running or failed.

    With `again`, retry a failed export at once, and move a ready one to the top of the run's list.
    Raises TooManyQueued.
    """
    return _create(Subject((run,)), spec, again=again)


def create_changes_export(
    comparison: Comparison, query: ChangeQuery, spec: ExportSpec, *, layout: Layout = Layout.CHANGES
) -> Export:
    """Return the export of a ready comparison's changes. See create_export(). Raises TooManyQueued.

    `layout` is CHANGES or PRODUCTS.
    """
    return _create(Subject.changes(comparison, layout), narrowed(spec, query), again=False)


def create_joint_export(subject: Subject, spec: ExportSpec, *, again: bool = False) -> Export:
    """Return the export of several runs. See create_export(). Raises InvalidSpec, TooManyQueued."""
    subject.check(spec)
    return _create(subject, spec, again=again)


def _create(subject: Subject, spec: ExportSpec, *, again: bool) -> Export:
    export = _found_or_new(subject, spec)
    export.run = subject.runs[0]
    if export.state == ExportState.FAILED and not export.is_final:
        _try_again(export, subject, spec, at_once=again)
    if again and export.is_ready:
        export.created_at = timezone.now()
        export.save(update_fields=["created_at"])
    if export.state == ExportState.QUEUED and not export.attempt and _is_quick(subject, spec):
        _build_quickly(export)
    return export


def _build_quickly(export: Export) -> None:
    """Build the export unless that takes too long. Raises TooManyQueued if it can't be queued."""
    run, until = export.run, time.monotonic() + _PATIENCE
    if _AT_ONCE.acquire(blocking=False):
        try:
            build_export(export, must_stop=lambda: time.monotonic() > until)
        finally:
            _AT_ONCE.release()
        export.refresh_from_db()
        export.run = run
    if export.state == ExportState.QUEUED:
        try:
            _check_queue(run, but=export)
        except TooManyQueued:
            retention.delete(export)
            raise


def _found_or_new(subject: Subject, spec: ExportSpec) -> Export:
    run, digest = subject.runs[0], subject.digest(spec)
    found = run.exports.filter(digest=digest).first()
    if found is not None:
        note_use(found, timezone.now())
        return found
    if not _is_quick(subject, spec):
        _check_queue(run)
    with transaction.atomic():
        export, is_new = Export.objects.get_or_create(
            run=run,
            digest=digest,
            defaults={
                "layout": subject.layout,
                "run_count": len(subject.runs),
                **fields_of(spec),
                "allows_missing": spec.allows_missing,
                "total": subject.total,
            },
        )
        if is_new and len(subject.runs) > 1:
            export.other_runs.add(*subject.runs[1:])
    if is_new:
        export.run = run
        retention.delete_oldest_like(export)
    return export


def _check_queue(run: Run, *, but: Export | None = None) -> None:
    waiting = Export.objects.under_way().filter(run__collection__team=run.collection.team_id)
    if but is not None:
        waiting = waiting.exclude(pk=but.pk)
    check_queue(waiting, MOST_QUEUED, "exports")


def _try_again(export: Export, subject: Subject, spec: ExportSpec, *, at_once: bool) -> None:
    now = timezone.now()
    if at_once or export.failed_at is None or not timedelta() <= now - export.failed_at < _REST:
        if not _is_quick(subject, spec):
            _check_queue(export.run)
        failed = Export.objects.filter(pk=export.pk, state=ExportState.FAILED)
        failed.update(state=ExportState.QUEUED, failure="", attempt="", created_at=now, used_at=now, done=0)
        export.refresh_from_db()
        export.run = subject.runs[0]


def _is_quick(subject: Subject, spec: ExportSpec) -> bool:
    if subject.comparison is not None:
        return subject.comparison.rows <= _QUICK_CHANGES
    files = (
        ResultFile.objects.with_records()
        .filter(run__in=subject.runs)
        .aggregate(count=Count("pk"), away=Count("pk", filter=Q(key="")), size=Sum("size", default=0))
    )
    # Files at an account may take any time to download.
    is_small: bool = files["count"] <= _QUICK_FILES and files["size"] <= _QUICK[spec.format]
    return is_small and not files["away"]


def deliverable(export: Export, name: str = "") -> Deliverable:
    """Return a ready export as a deliverable, under its usual name or another one."""
    assert export.modified is not None
    return Deliverable(
        name=name or file_name(export),
        size=export.size,
        etag=export.etag,
        modified=export.modified,
        body=_ExportBody(export.key, export.size),
        sha256=export.sha256,
    )


class _ExportBody(StoredBody):
    """The bytes of an export. If they have been deleted, the next request builds the export again."""

    def open(self, start: int, length: int) -> BinaryIO:
        """Open the stored file; see StoredBody."""
        try:
            return super().open(start, length)
        except ResultNotFound:
            Export.objects.filter(key=self.key).delete()
            raise ResultNotFound("This export has been deleted. Export the records again.") from None


def file_name(export: Export) -> str:
    """Return the usual file name for a download."""
    if export.has_changes:
        run, since = (run.number for run in export.runs())
        return changes_name(export.run.collection.name, run, since, export.format)
    return export_name(
        export.run.collection.name,
        [run.number for run in export.runs()],
        export.format,
        has_chosen_columns=bool(export.columns),
        is_search=bool(export.search or export.filters),
    )
