"""The verdict of a run: whether it can be trusted, and why not."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from collections_app.api.endpoint import endpoint
from collections_app.api.errors import ApiError
from collections_app.api.find_run import find_run
from collections_app.api.limits import EXPORT_RETRY_AFTER_SECONDS
from collections_app.api.responses import accepted, success
from collections_app.models import ApiKey, Run, Slice, SliceState, Verdict
from collections_app.records.quality.profile import Profile
from collections_app.records.quality.reasons import Reason
from collections_app.records.quality.verdicts import reasons_of


@endpoint("GET", "HEAD")
def run_quality(request: HttpRequest, key: ApiKey, collection_id: str, runner_id: str) -> HttpResponseBase:
    """Send the verdict of a run. Respond with 202 while the run is judged."""
    run = find_run(key, collection_id, runner_id)
    verdict = Verdict.objects.filter(run=run).first()
    return _unfinished(run) if verdict is None else success(_quality(run, verdict))


def _unfinished(run: Run) -> HttpResponseBase:
    """Return a 202 response. Raises ApiError if the run won't be judged."""
    stored = Slice.objects.filter(run=run).first()
    if stored and stored.state == SliceState.FAILED and stored.retry_at is None:
        raise ApiError(500, stored.failure)
    if stored is None and not run.needs_slice:
        raise ApiError(
            409, f"Run {run.number} is too old to be judged automatically. Request its changes.json first."
        )
    progress = {"state": "queued", "done": 0, "total": None}
    return accepted(progress, retry_after_seconds=EXPORT_RETRY_AFTER_SECONDS)


def _quality(run: Run, verdict: Verdict) -> dict[str, Any]:
    return {
        "run": run.number,
        "verdict": verdict.level,
        "trusted": verdict.is_trusted,
        "overruled": _overruled(verdict),
        "kind": verdict.kind,
        "partial": verdict.is_partial,
        "baseline": verdict.baseline,
        "reasons": [_reason(reason) for reason in reasons_of(verdict)],
        "profile": _profile(Profile.from_json(verdict.profile)),
        "judged_at": verdict.judged_at.replace(microsecond=0),
    }


def _overruled(verdict: Verdict) -> dict[str, Any] | None:
    if verdict.overruled_at is None:
        return None
    at = verdict.overruled_at.replace(microsecond=0)
    return {"trusted": verdict.is_trusted, "by": verdict.overruled_by_name, "at": at}


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "check": reason.check.value,
        "level": reason.level.value,
        "column": reason.column or None,
        "value": float(reason.value),
        "usual_low": float(reason.low),
        "usual_high": float(reason.high),
        "text": str(reason),
    }


def _profile(profile: Profile) -> dict[str, Any]:
    return {
        "records": profile.records,
        "requested": profile.total,
        "duplicates": profile.duplicates,
        "without_key": profile.without_key,
        "columns": [
            {"name": name, "filled": each.filled, "numbers": each.numbers}
            for name, each in profile.columns.items()
        ],
    }
