"""The changes of a run in lists and on its page, in a few words: "14 prices down, 3 sold out"."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.urls import reverse
from django.utils import timezone

from collections_app.models import Comparison, Run, Verdict
from collections_app.models.verdicts import verdicts_of
from collections_app.records.tracking.comparisons import summaries_of
from collections_app.records.tracking.kinds import ChangeKind

# The words for one and for several products. The badge of a run says how many records were not scraped.
_WORDS = {
    ChangeKind.PRICE_DOWN: ("price down", "prices down"),
    ChangeKind.PRICE_UP: ("price up", "prices up"),
    ChangeKind.SOLD_OUT: ("sold out", "sold out"),
    ChangeKind.BACK: ("back in stock", "back in stock"),
    ChangeKind.NEW: ("new", "new"),
    ChangeKind.MISSING: ("missing", "missing"),
    ChangeKind.GONE: ("gone", "gone"),
    ChangeKind.RETURNED: ("returned", "returned"),
    ChangeKind.SELLER: ("new seller", "new sellers"),
    ChangeKind.CURRENCY: ("currency changed", "currencies changed"),
    ChangeKind.OTHER: ("other change", "other changes"),
}
_SHOWN_IN_LISTS = 2
# After this time, pages no longer wait for the verdict and the changes of a new run.
_SOON = timedelta(minutes=10)


@dataclass(frozen=True)
class ChangesSummary:
    """What changed in a run since an earlier one."""

    parts: Sequence[str]  # the most important first
    run: int
    since: int
    address: str

    @property
    def text(self) -> str:
        """All kinds of changes."""
        return ", ".join(self.parts)

    @property
    def shown(self) -> Sequence[str]:
        """The most important kinds of changes, for lists."""
        return self.parts[:_SHOWN_IN_LISTS]


def changes_summaries(
    runs: Sequence[Run], verdicts: Mapping[int, Verdict] | None = None
) -> dict[int, ChangesSummary]:
    """Return the summaries of completed runs by primary key, in a few queries.

    Runs that can't be trusted have none, and neither have those that haven't been compared. Pass the
    verdicts of the runs if they are known.
    """
    compared = summaries_of(runs)
    if not compared:
        return {}
    if verdicts is None:
        verdicts = verdicts_of(run for run in runs if run.pk in compared)
    distrusted = {run for run, verdict in verdicts.items() if not verdict.is_trusted}
    partial = _partial([each for each in compared.values() if each.counts.get(ChangeKind.RETURNED)])
    return {
        run.pk: _summary(run, compared[run.pk], is_since_partial=compared[run.pk].since_id in partial)
        for run in runs
        if run.pk in compared and run.pk not in distrusted
    }


def awaits_comparison(run: Run, verdict: Verdict | None, summary: ChangesSummary | None) -> bool:
    """Whether a run that has just completed may soon have a verdict, or a summary if it isn't the first."""
    if not run.is_ready or run.updated_at <= timezone.now() - _SOON:
        return False
    return verdict is None or (verdict.is_trusted and summary is None and run.number > 1)


def _partial(compared: Sequence[Comparison]) -> Collection[int]:
    """Return the earlier runs that are partial, by primary key."""
    if not compared:
        return ()
    judged = Verdict.objects.filter(run__in=[each.since_id for each in compared], is_partial=True)
    known = {each.since_id for each in compared if each.since.is_partial}
    return known.union(judged.values_list("run", flat=True))


def _summary(run: Run, comparison: Comparison, *, is_since_partial: bool) -> ChangesSummary:
    since = comparison.since.number
    parts = list(_parts(comparison, is_since_partial=is_since_partial))
    address = reverse("run_changes", args=[run.collection_id, run.number])
    return ChangesSummary(
        parts or [_without_changes(comparison)], run.number, since, f"{address}?since={since}"
    )


def _without_changes(comparison: Comparison) -> str:
    """Return the words for a run in which no product has changed, such as an empty one."""
    not_scraped = comparison.counts.get(ChangeKind.NOT_SCRAPED, 0)
    return f"{not_scraped:,} not scraped" if not_scraped else "No changes"


def _parts(comparison: Comparison, *, is_since_partial: bool) -> Iterator[str]:
    """Yield the changes. Products that a partial run lacked have never left."""
    has_falls = bool(comparison.counts.get(ChangeKind.PRICE_DOWN))
    for kind, (one, many) in _WORDS.items():
        count = comparison.counts.get(kind, 0)
        if kind == ChangeKind.RETURNED and is_since_partial:
            continue
        if count and has_falls and kind == ChangeKind.PRICE_UP:
            yield f"{count:,} up"  # "2 prices down, 1 up"
        elif count:
            yield f"{count:,} {one if count == 1 else many}"
