"""The counts of a comparison, as filters of its changes."""

from collections.abc import Mapping
from dataclasses import dataclass

from collections_app.models import Comparison
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


def count_texts(comparison: Comparison) -> list[str]:
    """Return the counts that no change is about, in words."""
    counts, run, since = comparison.counts, comparison.run.number, comparison.since.number
    texts = [f"{counts['matched']:,} products in both runs"]
    for name, words in (("duplicates", "with a duplicate key"), ("without_key", "without a key")):
        texts += [
            f"run {number} has {count:,} record{'' if count == 1 else 's'} {words}"
            for number, count in ((run, counts[name]), (since, counts[f"{name}_before"]))
            if count
        ]
    return texts


def has_changes(comparison: Comparison) -> bool:
    """Whether any product differs."""
    return any(comparison.counts.get(kind) for kind in ChangeKind)
