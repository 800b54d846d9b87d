"""Let members overrule verdicts, and correct the kinds of runs. Both change the baseline of later runs."""

from django.db import transaction
from django.utils import timezone

from collections_app.models import Overrule, Run, RunCoverage, TrackingSettings, User, Verdict
from collections_app.records.quality.verdicts import is_partial, lock_verdicts, reasons_of


class NoVerdict(Exception):
    """The run has no verdict yet."""


@transaction.atomic
def overrule(run: Run, what: Overrule | None, *, by: User) -> None:
    """Say whether the run can be trusted, or None to go back to the verdict. Raises NoVerdict."""
    verdict = _locked(run)
    verdict.overrule = what or ""
    verdict.overruled_by = by if what else None
    verdict.overruled_by_name = (by.get_full_name() or by.email) if what else ""
    verdict.overruled_at = timezone.now() if what else None
    verdict.is_partial = is_partial(run, reasons_of(verdict), is_fine=what == Overrule.TRUSTED)
    verdict.save(
        update_fields=["overrule", "overruled_by", "overruled_by_name", "overruled_at", "is_partial"]
    )
    Verdict.objects.mark_later(run, verdict.kind)


@transaction.atomic
def choose_kind(run: Run, kind: RunCoverage | None) -> None:
    """Correct the kind of the run, or None to recognize it again. Raises NoVerdict."""
    verdict = _locked(run)
    before = verdict.kind
    verdict.chosen_coverage = kind or ""
    verdict.is_due = True
    verdict.save(update_fields=["chosen_coverage", "is_due"])
    Verdict.objects.mark_later(run, before, verdict.kind)


def _locked(run: Run) -> Verdict:
    """Return the verdict, and let no other transaction change verdicts of the collection."""
    try:
        lock_verdicts(run)
        return Verdict.objects.get(run=run)
    except (TrackingSettings.DoesNotExist, Verdict.DoesNotExist):
        raise NoVerdict from None
