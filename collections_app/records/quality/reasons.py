"""Why a run needs a check, or is broken: a number and its usual range, in plain words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from collections_app.models import VerdictLevel


class Check(StrEnum):
    """What a reason is about."""

    RECORDS = "records"
    SCRAPED = "scraped"
    PRODUCTS = "products"
    COVERAGE = "coverage"
    MISSING_COLUMN = "missing_column"
    NEW_COLUMN = "new_column"
    NUMBERS = "numbers"
    PRICE_LEVEL = "price_level"
    PRICE_CHANGES = "price_changes"
    DUPLICATES = "duplicates"
    WITHOUT_KEY = "without_key"
    NOTHING_CHANGED = "nothing_changed"
    TITLES = "titles"


# If one of these fails, products that are missing from the run may still exist.
_OF_PARTIAL_RUNS = {Check.RECORDS, Check.SCRAPED, Check.PRODUCTS}


@dataclass(frozen=True)
class Reason:
    """The result of a check that failed: its value, and the lowest and highest in the baseline.

    The values are numbers of records or products, ratios of prices, or shares between 0 and 1.
    """

    check: Check
    level: VerdictLevel
    value: float
    low: float
    high: float
    column: str = ""
    title: str = ""  # the most common one

    @property
    def means_partial(self) -> bool:
        """Whether the run may lack products that exist."""
        return self.check in _OF_PARTIAL_RUNS

    def to_json(self) -> dict[str, Any]:
        """Return the reason as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return a reason that was stored."""
        known = {**stored, "check": Check(stored["check"]), "level": VerdictLevel(stored["level"])}
        return cls(**known)

    def __str__(self) -> str:
        """Return the reason as a sentence, such as "price missing in 41% of records, usually 0 to 2%"."""
        return _SENTENCES[self.check].format(
            column=self.column,
            title=self.title,
            ratio=_ratio(self.value),
            count=f"{self.value:,.0f}",
            share=percent(self.value),
            missing=percent(1 - self.value),
            usual_counts=_range(f"{self.low:,.0f}", f"{self.high:,.0f}"),
            usual_shares=percent_range(self.low, self.high),
            usual_most=percent(self.high),
            usually_missing=percent_range(1 - self.high, 1 - self.low),
        )


_SENTENCES = {
    Check.RECORDS: "{count} records, usually {usual_counts}.",
    Check.SCRAPED: "{share} of the requested records scraped, usually {usual_shares}.",
    Check.PRODUCTS: "{share} of the products are the same as in the run before, usually {usual_shares}.",
    Check.COVERAGE: "{column} missing in {missing} of records, usually {usually_missing}.",
    Check.MISSING_COLUMN: "No record has the column {column}. Usually {usual_shares} of records have it.",
    Check.NEW_COLUMN: "New column {column} in {share} of records.",
    Check.NUMBERS: "{column} is a number in {share} of its values, usually in {usual_shares}.",
    Check.PRICE_LEVEL: "Prices are {ratio} the prices of the run before.",
    Check.PRICE_CHANGES: "{share} of prices changed, usually {usual_shares}.",
    Check.DUPLICATES: "{share} of records share their key with another record, usually {usual_shares}.",
    Check.WITHOUT_KEY: "{share} of records have no key, usually {usual_shares}.",
    Check.NOTHING_CHANGED: "Nothing changed since the run before. Usually {usual_counts} products change.",
    Check.TITLES: "{share} of records have the title “{title}”. Usually at most {usual_most} share one.",
}


def percent(share: float) -> str:
    """Return a share in percent, with a decimal if it is small or nearly everything."""
    percent = share * 100
    rounded = f"{percent:.0f}" if 10 <= percent <= 90 or percent in {0, 100} else f"{percent:.1f}"  # noqa: PLR2004
    return f"{rounded.removesuffix('.0')}%"


def percent_range(low: float, high: float) -> str:
    """Return the lowest and the highest share, such as "98 to 100%"."""
    return _range(percent(low).removesuffix("%"), percent(high).removesuffix("%")) + "%"


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _ratio(value: float) -> str:
    return f"{value:.3g} times"
