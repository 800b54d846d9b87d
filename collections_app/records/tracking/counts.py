"""What a comparison counts: records, and products per kind of change."""

from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from collections_app.records.tracking.kinds import ChangeKind


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
    volatile_of: int = 0  # how many products the changes of volatile columns are listed for
    # For each record of the later run, whether it has another change.
    _with_others: bytearray = field(default_factory=bytearray, repr=False)

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

    def add_changes(self, number: int, kinds: AbstractSet[ChangeKind]) -> None:
        """Count changes of a product. `number` is that of its record in the later run."""
        for kind in kinds:
            self.products[kind] += kind is not ChangeKind.OTHER or self._is_first_other(number)

    def _is_first_other(self, number: int) -> bool:
        """Return whether no other change of the product was counted yet, and remember it."""
        if number >= len(self._with_others):
            self._with_others.extend(bytes(number + 1))
        is_first = not self._with_others[number]
        self._with_others[number] = 1
        return is_first
