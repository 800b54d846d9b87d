"""Recognize the kind of a run by the columns that it fills in."""

from collections_app.models import Run, RunCoverage, Verdict
from collections_app.records.quality.profile import Profile
from collections_app.records.tracking.kinds import Tracked

# A column is filled in if this share of the records has it, and left out if fewer than the other share do.
_FILLED, _LEFT_OUT = 0.5, 0.05
# How many of the corrections that members made last are considered.
_MOST_CORRECTIONS = 10
_ROLES = ("title", "price", "stock", "seller")


def kind_of(run: Run, profile: Profile) -> RunCoverage:
    """Return the kind of a run.

    If a member has corrected the kind of a run that fills in the same columns, that is the kind of both.
    """
    filled = _filled_roles(profile)
    corrected = Verdict.objects.filter(run__collection=run.collection_id).exclude(chosen_coverage="")
    for each in corrected.order_by("-run__created_at", "-run__number")[:_MOST_CORRECTIONS]:
        if _filled_roles(Profile.from_json(each.profile)) == filled:
            return RunCoverage(each.chosen_coverage)
    return kind_of_columns(profile)


def kind_of_columns(profile: Profile) -> RunCoverage:
    """Return the kind of a run by its columns: availability only, if only stock is filled in."""
    only_stock = _filled_roles(profile) == {"stock"} and _coverage(profile, "stock") >= _FILLED
    return RunCoverage.AVAILABILITY if only_stock else RunCoverage.FULL


def _filled_roles(profile: Profile) -> set[str]:
    return {role for role in _ROLES if _coverage(profile, role) >= _LEFT_OUT}


def _coverage(profile: Profile, role: str) -> float:
    column = getattr(Tracked.among(list(profile.columns)), role)
    return profile.coverage(column) if column else 0
