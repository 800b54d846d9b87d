"""The history of a product: what each run says about it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property, partial
from itertools import pairwise
from statistics import median
from typing import Any

from collections_app.models import Collection
from collections_app.records.availability import Availability, availability_of
from collections_app.records.tracking.percent import percent_of
from collections_app.records.tracking.tracked_runs import TrackedRun, query_products

# Of the newest runs. A run may have several for the same product.
_MOST_OBSERVATIONS = 5000
MEDIAN_OF = timedelta(days=90)

_ONE = """
SELECT key, number, n, title, price, amount, unit, currency, stock, seller
FROM read_parquet($files) WHERE key = $key AND list_contains($numbers, number)
ORDER BY number DESC, n LIMIT $most
"""
_SEVERAL = """
SELECT key, number, n, title, price, amount, unit, currency, stock, seller
FROM read_parquet($files) WHERE key IN (SELECT unnest($keys)) AND list_contains($numbers, number)
ORDER BY number DESC, n LIMIT $most
"""
# How many runs are read for several products, and how many rows of blocks.
_MOST_RUNS_OF_SEVERAL = 64
_MOST_ROWS_OF_SEVERAL = 10_000_000
_MOST_OBSERVATIONS_OF_SEVERAL = 30_000


@dataclass(frozen=True)
class Observation:
    """What a record says about a product. Texts are "" if they are missing."""

    number: int  # of the run
    position: int  # of the record in the run
    title: str
    price: str  # as it was scraped
    amount: Decimal | None  # in units of the currency, or None if the price can't be read as an amount
    currency: str  # a code or a sign
    stock: str
    seller: str

    @cached_property
    def availability(self) -> Availability | None:
        """Whether the product can be bought, or None if that is unknown."""
        return availability_of(self.stock) if self.stock else None

    @property
    def is_sold_out(self) -> bool:
        """Whether the product is out of stock."""
        return self.availability == Availability.OUT_OF_STOCK


@dataclass(frozen=True)
class Sighting:
    """The records of a product in a run: one, or several if its key isn't unique there."""

    run: TrackedRun
    observations: Sequence[Observation]

    @property
    def first(self) -> Observation:
        """The first of the records."""
        return self.observations[0]

    @cached_property
    def amount(self) -> Decimal | None:
        """The price, or None if it is unknown, or if the records disagree."""
        prices = {(each.amount, each.currency) for each in self.observations}
        return self.first.amount if len(prices) == 1 else None


@dataclass(frozen=True)
class Extreme:
    """A lowest or highest price, and when the product had it first."""

    amount: Decimal
    sighting: Sighting


@dataclass(frozen=True)
class PriceChange:
    """A change of a price, and the run that shows it."""

    sighting: Sighting
    was: Decimal
    now: Decimal

    @property
    def percent(self) -> Decimal | None:
        """The change in percent, with one decimal, or None if it isn't known."""
        return percent_of(self.was, self.now)


@dataclass(frozen=True)
class History:
    """What the runs of a collection say about a product, oldest first. Only trusted runs count in figures."""

    runs: Sequence[TrackedRun]
    by_run: Mapping[int, Sequence[Observation]]

    @cached_property
    def sightings(self) -> list[Sighting]:
        """The runs that contain the product."""
        return [Sighting(run, self.by_run[run.number]) for run in self.runs if run.number in self.by_run]

    @property
    def newest(self) -> Sighting:
        """The newest run that contains the product; a trusted one if there is any."""
        return (self.trusted or self.sightings)[-1]

    @property
    def newest_price(self) -> Sighting:
        """The newest sighting, but not in a run that only scraped the availability if there is another."""
        found = reversed(self.trusted or self.sightings)
        return next((each for each in found if each.run.has_prices), self.newest)

    @property
    def title(self) -> str:
        """The newest title, or "" if no run has one."""
        found = (each.first.title for each in reversed(self.trusted or self.sightings))
        return next(filter(None, found), "")

    @cached_property
    def trusted(self) -> list[Sighting]:
        """The trusted runs that contain the product."""
        return [sighting for sighting in self.sightings if sighting.run.is_trusted]

    @cached_property
    def trusted_runs(self) -> list[TrackedRun]:
        """The trusted runs."""
        return [run for run in self.runs if run.is_trusted]

    @property
    def missed(self) -> int:
        """How many trusted runs in a row lack the product, up to the newest one."""
        return sum(run.created_at > self.newest.run.created_at for run in self.trusted_runs)

    @property
    def currency(self) -> str:
        """The newest currency, which all figures are in."""
        return next((each.first.currency for each in reversed(self.trusted) if each.amount is not None), "")

    @property
    def other_currencies(self) -> list[str]:
        """The other currencies in which runs have the price."""
        found = {
            each.currency for sighting in self.trusted for each in sighting.observations if each.currency
        }
        return sorted(found - {self.currency})

    @cached_property
    def priced(self) -> list[tuple[Sighting, Decimal]]:
        """The sightings with a price in the newest currency."""
        return [
            (sighting, sighting.amount)
            for sighting in self.trusted
            if sighting.amount is not None and sighting.first.currency == self.currency
        ]

    @property
    def lowest(self) -> Extreme | None:
        """The lowest price."""
        found = min(self.priced, key=lambda each: each[1], default=None)
        return Extreme(found[1], found[0]) if found else None

    @property
    def highest(self) -> Extreme | None:
        """The highest price."""
        found = max(self.priced, key=lambda each: each[1], default=None)
        return Extreme(found[1], found[0]) if found else None

    @property
    def last_change(self) -> PriceChange | None:
        """The last change of the price, or None if it never changed."""
        for (sighting, now), (_, was) in pairwise(reversed(self.priced)):
            if now != was:
                return PriceChange(sighting, was, now)
        return None

    @property
    def recent_median(self) -> Decimal | None:
        """The median price of the runs of the last 90 days before the newest run."""
        since = self.runs[-1].created_at - MEDIAN_OF
        amounts = [amount for sighting, amount in self.priced if sighting.run.created_at >= since]
        return median(amounts) if amounts else None

    @property
    def sold_out_share(self) -> Decimal | None:
        """The share of the time in which the product was out of stock, or None if that is unknown.

        What a run says counts until the next run.
        """
        known, sold_out = timedelta(), timedelta()
        for sighting, until in self._durations():
            if sighting.first.availability is not None:
                known += until - sighting.run.created_at
                if sighting.first.is_sold_out:
                    sold_out += until - sighting.run.created_at
        return Decimal(sold_out / known) if known else None

    def sold_out_times(self) -> Iterator[tuple[datetime, datetime]]:
        """Yield the times in which the product was out of stock."""
        for sighting, until in self._durations():
            if sighting.first.is_sold_out:
                yield sighting.run.created_at, until

    def _durations(self) -> Iterator[tuple[Sighting, datetime]]:
        """Yield the trusted sightings, each with the time of the next trusted run."""
        by_number = {sighting.run.number: sighting for sighting in self.trusted}
        for run, following in pairwise(self.trusted_runs):
            if run.number in by_number:
                yield by_number[run.number], following.created_at

    @property
    def sellers(self) -> list[tuple[str, int]]:
        """The sellers with the number of runs that name them, most first."""
        return Counter(each.first.seller for each in self.trusted if each.first.seller).most_common()


def history_of(collection: Collection, key: str) -> History | None:
    """Return the history of a product in the newest runs, or None if none of them contains it.

    `key` is a JSON list, as sql_key() returns it. Raises ProductsUnavailable and TooManyQueries.
    """
    values = partial(_values, key=key, most=_MOST_OBSERVATIONS)
    runs, rows = query_products(collection, _ONE, values)
    return _histories(runs, rows).get(key)


def histories_of(collection: Collection, keys: Sequence[str]) -> dict[str, History]:
    """Return the history of some products in the newest runs by their keys. Raises as history_of() does."""
    runs, rows = query_products(
        collection,
        _SEVERAL,
        partial(_values, keys=list(keys), most=_MOST_OBSERVATIONS_OF_SEVERAL),
        most=_MOST_RUNS_OF_SEVERAL,
        most_rows=_MOST_ROWS_OF_SEVERAL,
    )
    return _histories(runs, rows)


def _values(runs: Sequence[TrackedRun], **values: object) -> dict[str, object]:
    return {"numbers": [run.number for run in runs], **values}


def _histories(runs: Sequence[TrackedRun], rows: Sequence[tuple[Any, ...]]) -> dict[str, History]:
    found: dict[str, dict[int, list[Observation]]] = defaultdict(lambda: defaultdict(list))
    for key, *row in rows:
        observation = _observation(row)
        found[key][observation.number].append(observation)
    return {key: History(runs, by_run) for key, by_run in found.items()}


def _observation(row: Sequence[Any]) -> Observation:
    number, position, title, price, amount, unit, currency, stock, seller = row
    amount = None if amount is None else amount / unit
    return Observation(
        number, position, title or "", price or "", amount, currency or "", stock or "", seller or ""
    )
