"""The counts of a comparison, as filters of its changes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.urls import reverse

from collections_app.models import Comparison, Run
from collections_app.records.tracking.kinds import ChangeKind
from collections_app.views.changes.query import ChangesQuery
from collections_app.views.changes.words import KIND_NAMES

# Shown even if there are none.
_ALWAYS = frozenset(
    {
        ChangeKind.PRICE_DOWN,
        ChangeKind.PRICE_UP,
        ChangeKind.SOLD_OUT,
        ChangeKind.BACK,
        ChangeKind.NEW,
        ChangeKind.MISSING,
    }
)


@dataclass(frozen=True)
class KindChip:
    """The number of products with a kind of change, and the query string that selects these changes."""

    kind: ChangeKind
    name: str
    count: int
    address: str
    is_chosen: bool
    median: str  # of the changes in percent, or ""


def kind_chips(comparison: Comparison, query: ChangesQuery) -> list[KindChip]:
    """Return the kinds of changes to choose from."""
    medians: Mapping[str, float] = comparison.summary.get("median_percent", {})
    return [
        KindChip(
            kind,
            name,
            count,
            query.of_kind(kind),
            is_chosen,
            f"{medians[kind]:+,.1f}%" if kind in medians else "",
        )
        for kind, name in KIND_NAMES.items()
        if (count := comparison.counts.get(kind, 0)) | (is_chosen := kind in query.changes.kinds)
        or kind in _ALWAYS
    ]


@dataclass(frozen=True)
class CountText:
    """A count that no change is about, in words, and the address of a list of its records."""

    text: str
    address: str = ""


def count_texts(comparison: Comparison) -> list[CountText]:
    """Return the products in both runs, and the records that can't be compared."""
    counts = comparison.counts
    return [
        CountText(f"{counts['matched']:,} products in both runs"),
        *_uncompared(comparison.run, counts["duplicates"], "duplicates", "duplicate key"),
        *_uncompared(comparison.since, counts["duplicates_before"], "duplicates", "duplicate key"),
        *_uncompared(comparison.run, counts["without_key"], "without-key", "no key"),
        *_uncompared(comparison.since, counts["without_key_before"], "without-key", "no key"),
    ]


def found_text(comparison: Comparison, query: ChangesQuery, total: int) -> str:
    """Return how many changes the query has found. Products that were not scraped haven't changed."""
    not_scraped = comparison.counts.get(ChangeKind.NOT_SCRAPED, 0) if query.shows_not_scraped else 0
    changes = total - not_scraped
    texts = [f"{changes:,} change{'' if changes == 1 else 's'}"] if changes or not not_scraped else []
    return " · ".join([*texts, *([f"{not_scraped:,} not scraped"] if not_scraped else [])])


def _uncompared(run: Run, count: int, shown: str, why: str) -> Iterator[CountText]:
    """Yield the records that aren't compared. The key of a duplicate may be unique in this run."""
    if count:
        address = reverse("run_duplicates", args=[run.collection_id, run.number])
        is_one = count == 1
        records = f"{count:,} record{'' if is_one else 's'} of run {run.number}"
        text = f"{records} {'is' if is_one else 'are'} not compared ({why})"
        yield CountText(text, f"{address}?show={shown}")


def has_changes(comparison: Comparison) -> bool:
    """Whether any product differs."""
    return any(comparison.counts.get(kind) for kind in ChangeKind)
