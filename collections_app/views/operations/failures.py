"""What failed recently, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from django.utils import timezone

from collections_app.models import (
    Collection,
    Comparison,
    ComparisonState,
    Export,
    ExportState,
    FailedMail,
    OutgoingMail,
    Run,
    State,
    Verification,
)

_RECENT = timedelta(days=7)
_MOST = 10


@dataclass(frozen=True)
class Failure:
    """Something that failed. `where` is the team and the collection, if it belongs to one."""

    at: datetime
    what: str
    where: str
    reason: str


def recent_failures() -> list[Failure]:
    """Return the newest failures of the last week."""
    since = timezone.now() - _RECENT
    found = chain(
        _runs(since),
        _exports(since),
        _comparisons(since),
        _verifications(since),
        _mails(since),
        _delayed_mails(),
    )
    return sorted(found, key=lambda each: each.at, reverse=True)[:_MOST]


def _runs(since: datetime) -> Iterator[Failure]:
    # The first condition is redundant. It is that of an index.
    unready = Run.objects.filter(state__in=[State.FAILED, State.PROCESSING])
    failed = unready.filter(state=State.FAILED, created_at__gte=since)
    for run in failed.select_related("collection__team").order_by("-created_at", "-pk")[:_MOST]:
        yield Failure(run.updated_at, f"Run {run.number}", _where(run.collection), run.failure_reason)


def _exports(since: datetime) -> Iterator[Failure]:
    failed = Export.objects.filter(state=ExportState.FAILED, failed_at__gte=since)
    for export in failed.select_related("run__collection__team").order_by("-failed_at")[:_MOST]:
        assert export.failed_at
        what = f"{export.format.upper()} export of run {export.run.number}"
        yield Failure(export.failed_at, what, _where(export.run.collection), export.failure)


def _comparisons(since: datetime) -> Iterator[Failure]:
    failed = Comparison.objects.filter(state=ComparisonState.FAILED, failed_at__gte=since)
    related = failed.select_related("run__collection__team", "since")
    for comparison in related.order_by("-failed_at")[:_MOST]:
        assert comparison.failed_at
        what = f"Comparison of run {comparison.run.number} with run {comparison.since.number}"
        yield Failure(comparison.failed_at, what, _where(comparison.run.collection), comparison.failure)


def _verifications(since: datetime) -> Iterator[Failure]:
    found = Verification.objects.filter(problem_count__gt=0, finished_at__gte=since)
    for each in found.select_related("run__collection__team").order_by("-finished_at")[:_MOST]:
        assert each.finished_at
        what, where = f"Verification of run {each.run.number}", _where(each.run.collection)
        yield Failure(each.finished_at, what, where, " ".join(each.problems[:1]))


def _mails(since: datetime) -> Iterator[Failure]:
    for mail in FailedMail.objects.filter(failed_at__gte=since).order_by("-failed_at")[:_MOST]:
        yield Failure(mail.failed_at, "Email", "", f"Gave up after {mail.tries} tries: {mail.problem}.")


def _delayed_mails() -> Iterator[Failure]:
    for mail in OutgoingMail.objects.exclude(problem="").order_by("-created_at")[:_MOST]:
        yield Failure(mail.created_at, "Email", "", f"Not sent yet after {mail.tries} tries: {mail.problem}.")


def _where(collection: Collection) -> str:
    return f"{collection.team} · {collection}"
