"""Asking for an export: what is there is given, what is quick is made at once, the rest has to wait."""

import csv
import io
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import BinaryIO

from django.db.models import Count, Q, Sum
from django.utils import timezone

from collections_app.files.names import fitted, safe
from collections_app.models import Export, ExportState, Run
from collections_app.records.exports import retention
from collections_app.records.exports.build import build_export, spec_of
from collections_app.records.formats.records_file import ExportSpec, Format
from collections_app.sources import Deliverable, ResultNotFound
from collections_app.sources.local import StoredBody

# How long a request makes an export that is likely to be quick. After that, the background makes it.
_PATIENCE = 3.0  # seconds
# How many requests of a process make exports at once. The background makes the others, so pages stay fast.
_AT_ONCE = threading.BoundedSemaphore(2)
# How many bytes of records are turned into a format in some 3 seconds at most, on a machine that is busy.
_QUICK = {
    Format.JSON: 50_000_000,
    Format.JSONL: 50_000_000,
    Format.CSV: 15_000_000,
    Format.XLSX: 2_000_000,
    Format.PARQUET: 20_000_000,
}
# From so many files on, finding and opening each takes longer than that: S3 is asked twice about each.
_QUICK_FILES = 100
# What failed a moment ago isn't tried again for everybody who asks.
_REST = timedelta(seconds=10)

MOST_COLUMNS = 1000
_LONGEST_NAMES = 64_000
_TOO_MANY_COLUMNS = f"At most {MOST_COLUMNS:,} columns can be chosen; leave them out to have all."


# So many a team may wait for at once.
MOST_QUEUED = 50


class TooManyQueued(Exception):
    """The team waits for as many exports as it may; the message says so, in plain English."""


class InvalidSpec(Exception):
    """Nobody can say what is wished for; the message says why, in plain English."""


def parse_format(text: str) -> Format | None:
    """Return the format of that name, if there is one."""
    return Format(text) if text in set(Format) else None


def parse_spec(wanted: Format, columns: Sequence[str], excel: str) -> ExportSpec:
    """Return what the parts of an address, or the fields of a form, spec for. Raises InvalidSpec.

    Each of `columns` is a list such as `a,b`; a name with a comma or a line break is in quotation marks, as
    in a CSV. `excel` is "1" for a CSV for spreadsheets, and nothing to other formats.
    """
    if excel not in {"", "0", "1"}:
        raise InvalidSpec("“excel” is 1 for a CSV that spreadsheets open without harm, or 0.")
    names = _names(columns)
    if len(names) > MOST_COLUMNS or sum(map(len, names)) > _LONGEST_NAMES:
        raise InvalidSpec(_TOO_MANY_COLUMNS)
    if any("\0" in name for name in names):
        raise InvalidSpec("A name of a column can't be right: there is a zero byte in it.")
    chosen = tuple(dict.fromkeys(filter(None, names)))
    return ExportSpec(wanted, chosen, excel=excel == "1" and wanted == Format.CSV)


def _names(columns: Sequence[str]) -> list[str]:
    # Within quotation marks each character may stand twice; of longer texts csv wants nothing to know.
    if sum(map(len, columns)) > 2 * _LONGEST_NAMES:
        raise InvalidSpec(_TOO_MANY_COLUMNS)
    try:
        return [name for text in columns for name in next(csv.reader([text]), [])]
    except csv.Error:
        raise InvalidSpec(
            "“columns” is a list such as a,b. A name with a line break in it is put in quotation marks."
        ) from None


def encode_columns(columns: Sequence[str]) -> str:
    """Return the columns as an address has them, and parse_spec() reads them."""
    out = io.StringIO()
    # What the lines end with is what the writer puts names in quotation marks for.
    csv.writer(out, lineterminator="\r\n").writerow(columns)
    return out.getvalue().removesuffix("\r\n")


def create_export(run: Run, spec: ExportSpec, *, again: bool = False) -> Export:
    """Return the export, which may be ready, or under way, or may have failed a moment ago.

    With `again` what failed is tried again at once, and what is there comes first in the run's list again.
    Raises TooManyQueued.
    """
    export = _found_or_new(run, spec)
    export.run = run
    if export.state == ExportState.FAILED and not export.is_final:
        _try_again(export, spec, at_once=again)
    if again and export.is_ready:
        export.created_at = timezone.now()
        export.save(update_fields=["created_at"])
    if export.state == ExportState.QUEUED and not export.attempt and _is_quick(run, spec):
        _build_quickly(export)
    return export


def _build_quickly(export: Export) -> None:
    """Make the export unless that takes too long. Raises TooManyQueued if it can't be queued."""
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
            retention.drop(export)
            raise


def _found_or_new(run: Run, spec: ExportSpec) -> Export:
    found = run.exports.filter(digest=spec.digest).first()
    if found is not None:
        found.note_use(timezone.now())
        return found
    if not _is_quick(run, spec):
        _check_queue(run)
    export, is_new = Export.objects.get_or_create(
        run=run,
        digest=spec.digest,
        defaults={
            "format": spec.format.value,
            "columns": list(spec.columns),
            "excel": spec.excel,
            "total": run.extracted,
        },
    )
    if is_new:
        retention.drop_oldest_of(run)
    return export


def _check_queue(run: Run, *, but: Export | None = None) -> None:
    waiting = Export.objects.under_way().filter(run__collection__team=run.collection.team_id)
    if but is not None:
        waiting = waiting.exclude(pk=but.pk)
    if waiting.count() >= MOST_QUEUED:
        raise TooManyQueued(
            f"Your team waits for {MOST_QUEUED} files already. Ask for this one once some of them are ready."
        )


def _try_again(export: Export, spec: ExportSpec, *, at_once: bool) -> None:
    now = timezone.now()
    if at_once or export.failed_at is None or not timedelta() <= now - export.failed_at < _REST:
        if not _is_quick(export.run, spec):
            _check_queue(export.run)
        failed = Export.objects.filter(pk=export.pk, state=ExportState.FAILED)
        failed.update(state=ExportState.QUEUED, failure="", attempt="", created_at=now, used_at=now, done=0)
        export.refresh_from_db()


def _is_quick(run: Run, spec: ExportSpec) -> bool:
    files = run.files.with_records().aggregate(
        count=Count("pk"), away=Count("pk", filter=Q(key="")), size=Sum("size", default=0)
    )
    # How quickly an account gives its files nobody knows.
    is_small: bool = files["count"] <= _QUICK_FILES and files["size"] <= _QUICK[spec.format]
    return is_small and not files["away"]


def deliverable(export: Export) -> Deliverable:
    """Return a ready export as something that can be delivered, under a name that tells what it is."""
    assert export.modified is not None
    run = export.run
    return Deliverable(
        name=file_name(run, spec_of(export)),
        size=export.size,
        etag=export.etag,
        modified=export.modified,
        body=_ExportBody(export.key, export.size),
        sha256=export.sha256,
    )


class _ExportBody(StoredBody):
    """The bytes of an export. Where they are gone they are made again for who asks next."""

    def open(self, start: int, length: int) -> BinaryIO:
        """Open the stored file; see StoredBody."""
        try:
            return super().open(start, length)
        except ResultNotFound:
            Export.objects.filter(key=self.key).delete()
            raise ResultNotFound("This file was dropped. Ask for it again, and it is made anew.") from None


def file_name(run: Run, spec: ExportSpec) -> str:
    """Return what a download is called."""
    what = "_chosen_columns" if spec.columns else ""
    return fitted(safe(run.collection.name), f"_{run.number}_Records{what}.{spec.format}")
