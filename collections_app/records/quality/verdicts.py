"""Judge runs: whether each can be trusted, compared with the trusted runs before it.

A verdict depends only on earlier runs. So if one changes, the later ones that may depend on it are marked,
and made again from the oldest on. This ends when nothing changes any more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction
from django.utils import timezone

from collections_app.models import Overrule, Run, Slice, TrackingSettings, Verdict, VerdictLevel
from collections_app.models.verdicts import LEAST_BASELINE
from collections_app.records.quality.checks import Usual, reasons
from collections_app.records.quality.product_changes import changes_since
from collections_app.records.quality.profile import Profile, profile_of
from collections_app.records.quality.reasons import Reason
from collections_app.records.quality.run_kind import kind_of
from collections_app.records.tracking.databases import open_files
from collections_app.records.tracking.settings import tracking_of
from collections_app.records.tracking.slices import SliceFile
from collections_app.records.tracking.stored_slices import SliceUnavailable, existing_slice

_SECONDS = 600.0


@dataclass(frozen=True)
class _Judgment:
    """A verdict that isn't stored yet, and what it depends on besides the run's records."""

    run: Run
    kind: str
    dependencies: Sequence[object]
    fields: dict[str, Any]


def judge(run: Run) -> bool:
    """Judge a run that has a slice, and store its verdict.

    Return False if the run, its baseline or the key has changed in the meantime. Then it still has to be
    judged. Raises SliceUnavailable, and the errors of open_database().
    """
    return _store(_judgment(run))


def is_partial(run: Run, found: Iterable[Reason], *, is_fine: bool) -> bool:
    """Whether products that are missing from the run may exist, because they weren't scraped.

    `is_fine` says that a member trusts the run.
    """
    return run.is_partial or (not is_fine and any(reason.means_partial for reason in found))


def reasons_of(verdict: Verdict) -> list[Reason]:
    """Return the reasons of a stored verdict."""
    return [Reason.from_json(stored) for stored in verdict.reasons]


def lock_verdicts(run: Run) -> TrackingSettings:
    """Let no other transaction change verdicts of the run's collection until this one ends.

    Raises TrackingSettings.DoesNotExist.
    """
    return TrackingSettings.objects.select_for_update().get(collection=run.collection_id)


def _judgment(run: Run) -> _Judgment:
    settings = tracking_of(run.collection)
    if settings.pk is None:
        raise SliceUnavailable("No run of the collection can be read.")
    old = Verdict.objects.filter(run=run).first()
    profile = _profile(run, settings, old)
    recognized = kind_of(run, profile)
    kind = (old and old.chosen_coverage) or recognized
    baseline = list(Verdict.objects.baseline_of(run, kind))
    if baseline:
        profile = _with_changes(profile, run, baseline[0].run, settings)
    verdict = _kept(old, baseline) or _verdict(run, profile, baseline, old)
    fields = {
        **verdict,
        "profile": profile.to_json(),
        "settings_version": settings.version,
        "coverage": recognized,
    }
    return _Judgment(run, kind, _dependencies(old, baseline), fields)


def _profile(run: Run, settings: TrackingSettings, old: Verdict | None) -> Profile:
    if old and old.settings_version == settings.version:
        return Profile.from_json(old.profile)
    file = _slice_of(run)
    with open_files(file.path, seconds=_SECONDS) as database:
        profile = profile_of(database, file, settings.key)
    return replace(profile, extracted=run.extracted, total=run.total)


def _with_changes(profile: Profile, run: Run, since: Run, settings: TrackingSettings) -> Profile:
    """Return the profile with the changes since the newest trusted run."""
    if profile.since == since.number:
        return profile
    changes = None
    if settings.key:
        before, after = existing_slice(since), _slice_of(run)
        if before is None:
            return replace(profile, since=None, changes=None)
        with open_files(before.path, after.path, seconds=_SECONDS) as database:
            changes = changes_since(database, before, after, settings.key)
    return replace(profile, since=since.number, changes=changes)


def _slice_of(run: Run) -> SliceFile:
    found = existing_slice(run)
    if found is None:
        raise SliceUnavailable("The slice has been deleted.")
    return found


def _verdict(run: Run, profile: Profile, baseline: Sequence[Verdict], old: Verdict | None) -> dict[str, Any]:
    """Return the fields of the verdict that depend on the baseline."""
    level, found = VerdictLevel.LEARNING, list[Reason]()
    if len(baseline) >= LEAST_BASELINE:
        found = reasons(profile, [_usual(each) for each in baseline])
        level = found[0].level if found else VerdictLevel.GOOD
    is_fine = old is not None and old.overrule == Overrule.TRUSTED
    return {
        "level": level,
        "reasons": [reason.to_json() for reason in found],
        "baseline": [each.run.number for each in baseline],
        "is_partial": is_partial(run, found, is_fine=is_fine),
    }


def _usual(verdict: Verdict) -> Usual:
    failed = {reason["check"] for reason in verdict.reasons}
    return Usual(Profile.from_json(verdict.profile), verdict.overrule == Overrule.TRUSTED, failed)


def _kept(old: Verdict | None, baseline: Sequence[Verdict]) -> dict[str, Any] | None:
    """Return the fields of an old verdict whose baseline is too small now because runs were deleted."""
    if old is None or len(baseline) >= LEAST_BASELINE or len(old.baseline) < LEAST_BASELINE:
        return None
    known = Run.objects.filter(collection=old.run.collection_id, number__in=old.baseline).count()
    if known == len(old.baseline):
        return None
    return {name: getattr(old, name) for name in ("level", "reasons", "baseline", "is_partial")}


def _dependencies(old: Verdict | None, baseline: Iterable[Verdict]) -> list[object]:
    chosen = (old.overrule, old.chosen_coverage) if old else ("", "")
    return [chosen, *((each.pk, each.overrule, each.judged_at) for each in baseline)]


@transaction.atomic
def _store(judgment: _Judgment) -> bool:
    """Store a verdict unless what it depends on has changed, and mark the later runs that depend on it."""
    run, fields = judgment.run, judgment.fields
    is_current = lock_verdicts(run).version == fields["settings_version"]
    if not is_current or not Run.objects.select_for_update(no_key=True).filter(pk=run.pk).exists():
        return False
    old = Verdict.objects.filter(run=run).first()
    if judgment.dependencies != _dependencies(old, Verdict.objects.baseline_of(run, judgment.kind)):
        return False
    now = {"is_due": False, "judged_at": timezone.now()}
    Verdict.objects.update_or_create(run=run, defaults=fields | now)
    Slice.objects.filter(run=run).update(needs_verdict=False)
    if old is None or any(getattr(old, name) != value for name, value in fields.items()):
        Verdict.objects.mark_later(run, judgment.kind, *([old.kind] if old else []))
    return True
