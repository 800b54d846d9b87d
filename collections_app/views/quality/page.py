"""The quality page of a run: its verdict, and what it is compared with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.models import Collection, Run, RunCoverage, Verdict
from collections_app.models.verdicts import LEAST_BASELINE
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.filters import LONGEST_VALUE, Filter
from collections_app.records.quality.checks import MOST_REASONS, usual_range
from collections_app.records.quality.profile import Profile
from collections_app.records.quality.reasons import Check, Reason, percent, percent_range
from collections_app.records.quality.verdicts import reasons_of
from collections_app.views.quality.curves import curves

# The pages of what some reasons are about, their parameters, and the texts of the links.
_PRICES = {"what": ["price_down", "price_up"]}
_LINKS: Mapping[Check, tuple[str, Mapping[str, object], str]] = {
    Check.PRODUCTS: ("run_changes", {}, "Show changes"),
    Check.NOTHING_CHANGED: ("run_changes", {}, "Show the comparison"),
    Check.PRICE_LEVEL: ("run_changes", _PRICES, "Show changed prices"),
    Check.PRICE_CHANGES: ("run_changes", _PRICES, "Show changed prices"),
    Check.DUPLICATES: ("run_duplicates", {}, "Show duplicates"),
    Check.WITHOUT_KEY: ("run_duplicates", {"show": "without-key"}, "Show these records"),
}
# How many runs the curves show.
_MOST_RUNS = 30


@dataclass(frozen=True)
class ReasonLine:
    """A reason, and a link to what it is about."""

    reason: Reason
    address: str
    link: str


@dataclass(frozen=True)
class ColumnLine:
    """How full a column is in the run, and usually."""

    name: str
    coverage: str
    usual: str
    numbers: str
    is_unusual: bool
    address: str  # of the records without a value, or ""


@collection_member(Action.SEE)
@require_safe
def run_quality(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show whether a run can be trusted, and why not."""
    run = collection.runs.filter(number=number).first()
    if run is None:
        raise Http404(f"This collection has no run {number}.")
    context: dict[str, object] = {"collection": collection, "run": run}
    verdict = Verdict.objects.filter(run=run).first()
    if verdict is not None:
        context |= _context(run, verdict)
    return render(request, "quality/page.html", context)


def _context(run: Run, verdict: Verdict) -> dict[str, object]:
    verdict.run = run
    profile, reasons = Profile.from_json(verdict.profile), reasons_of(verdict)
    earlier = list(Verdict.objects.before(run).select_related("run")[: _MOST_RUNS - 1])
    usual = _baseline(run, verdict, earlier)
    history = [*reversed(earlier), verdict]
    drawn = curves(history, reasons) if len(history) > 1 else []
    rows = zip(*(curve.runs for curve in drawn), strict=True)
    return {
        "verdict": verdict,
        "profile": profile,
        "reasons": [_line(run, reason, profile, _since(profile, earlier)) for reason in reasons],
        "has_more_reasons": len(reasons) == MOST_REASONS,
        "least_baseline": LEAST_BASELINE,
        "baseline": [each.run for each in usual],
        "deleted": len(verdict.baseline) - len(usual),
        "kinds": RunCoverage.choices,
        "curves": drawn,
        "history": history,
        "table": list(zip(history, rows, strict=False))[::-1],
        "columns": list(_columns(run, profile, [Profile.from_json(each.profile) for each in usual], reasons)),
    }


def _baseline(run: Run, verdict: Verdict, earlier: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts of the baseline, newest first. Those of deleted runs are gone."""
    known = {each.run.number: each for each in earlier}
    lacking = [number for number in verdict.baseline if number not in known]
    if lacking:
        older = Verdict.objects.before(run).filter(run__number__in=lacking).select_related("run")
        known |= {each.run.number: each for each in older}
    return [known[number] for number in verdict.baseline if number in known]


def _since(profile: Profile, earlier: Sequence[Verdict]) -> int | None:
    """Return the run that the checks compared the records with, unless it is deleted."""
    return profile.since if profile.since in {each.run.number for each in earlier} else None


def _line(run: Run, reason: Reason, profile: Profile, since: int | None) -> ReasonLine:
    each = _filter(reason)
    if each is not None:
        return ReasonLine(reason, _records_address(run, filter=str(each)), "Show these records")
    if reason.check in _LINKS:
        name, values, link = _LINKS[reason.check]
        compared = {"since": since} if name == "run_changes" and since else {}
        address = reverse(name, args=[run.collection_id, run.number])
        query = urlencode({**compared, **values}, doseq=True)
        return ReasonLine(reason, f"{address}?{query}" if query else address, link)
    if reason.check in {Check.NUMBERS, Check.NEW_COLUMN}:
        columns = [profile.title_column, reason.column]
        address = _records_address(run, sort=reason.column, column=[each for each in columns if each])
        return ReasonLine(reason, address, "Show records by this column")
    return ReasonLine(reason, _records_address(run), "Show records")


def _filter(reason: Reason) -> Filter | None:
    """Return the filter of the records that a reason is about, if there is one."""
    if reason.check == Check.COVERAGE:
        return Filter(reason.column)
    if reason.check == Check.TITLES and 0 < len(reason.title) < LONGEST_VALUE:
        return Filter(reason.column, reason.title)
    return None


def _records_address(run: Run, **query: str | Sequence[str]) -> str:
    address = reverse("run", args=[run.collection_id, run.number])
    parameters = f"?{urlencode(query, doseq=True)}" if query else ""
    return f"{address}{parameters}#records"


def _columns(
    run: Run, profile: Profile, usual: Sequence[Profile], reasons: Sequence[Reason]
) -> Iterator[ColumnLine]:
    unusual = {reason.column for reason in reasons}
    vanished = [reason.column for reason in reasons if reason.check == Check.MISSING_COLUMN]
    for column in dict.fromkeys([*vanished, *profile.columns]):
        shares = [each.coverage(column) for each in usual]
        numbers = profile.number_share(column)
        is_missing = column in profile.columns and profile.coverage(column) < 1
        yield ColumnLine(
            name=column,
            coverage=percent(profile.coverage(column)),
            usual=percent_range(*usual_range(shares)) if shares else "",
            numbers=percent(numbers) if numbers else "",
            is_unusual=column in unusual,
            address=_records_address(run, filter=str(Filter(column))) if is_missing else "",
        )
