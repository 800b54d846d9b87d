"""What a comparison counts: records, products per kind of change, and products per column."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from collections_app.records.tracking.kinds import ChangeKind

# Percentages above this are rounded to three digits, so that there are few different ones.
_LARGEST_EXACT = Decimal(1000)


class Percentages:
    """Percentages, in memory that doesn't grow with their number."""

    def __init__(self) -> None:
        self._counts: Counter[Decimal] = Counter()

    def add(self, percent: Decimal) -> None:
        """Add a percentage with one decimal."""
        self._counts[percent if abs(percent) < _LARGEST_EXACT else Decimal(f"{percent:.2e}")] += 1

    def median(self) -> float | None:
        """Return the lower median, or None if there are no percentages."""
        remaining = (self._counts.total() + 1) // 2
        for percent in sorted(self._counts):
            remaining -= self._counts[percent]
            if remaining <= 0:
                return float(percent)
        return None


@dataclass
class Counts:
    """How many records of both runs are matched, and what happened to the others.

    `matched`, new and returned products, `duplicates` and `without_key` add up to the records of the later
    run. `matched`, missing, gone and not scraped products, `duplicates_before` and `without_key_before` add
    up to those of the earlier run.
    """

    matched: int = 0
    duplicates: int = 0
    without_key: int = 0
    duplicates_before: int = 0
    without_key_before: int = 0
    products: Counter[ChangeKind] = field(default_factory=Counter)  # per kind, each product at most once
    columns: Counter[str] = field(default_factory=Counter)  # products per changed column
    # The same for the columns that change in nearly every product, among those that were looked at.
    volatile: Counter[str] = field(default_factory=Counter)
    volatile_of: int = 0
    falls: Percentages = field(default_factory=Percentages)
    rises: Percentages = field(default_factory=Percentages)

    def by_name(self) -> dict[str, int]:
        """Return the counts of records and products by their names in the API."""
        return {
            "matched": self.matched,
            **{kind.value: self.products[kind] for kind in ChangeKind},
            "duplicates": self.duplicates,
            "without_key": self.without_key,
            "duplicates_before": self.duplicates_before,
            "without_key_before": self.without_key_before,
        }

    def add_price(self, percent: Decimal | None) -> None:
        """Count the change of a price."""
        if percent is not None:
            (self.falls if percent < 0 else self.rises).add(percent)

    def summary(self) -> dict[str, object]:
        """Return the other figures, for JSON. Columns with more changes come first."""
        return {
            "median_fall": self.falls.median(),
            "median_rise": self.rises.median(),
            "columns": dict(self.columns.most_common()),
            "volatile": dict(self.volatile.most_common()),
            "volatile_of": self.volatile_of,
        }
