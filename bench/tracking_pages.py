"""Compares pages about changes with the page of a run: the changes between two runs, a product, and movers.

Each run has 5,000 records with 20 columns. The page of the product and the movers read all runs.
"""

from collections.abc import Iterator
from functools import partial

from bench.measure import Options, Row, at_most, run, value_row
from bench.pages import Load, compare, running_site

RUNS, RECORDS = 365, 5_000

# From run to run, 7% of the prices and 8% of the stock change.
MAKE = """
from datetime import timedelta
from django.utils import timezone
from collections_app.records.tracking.comparisons import comparison_of
from collections_app.records.tracking.slice_builder import build_slice
from tests.support.products import build_blocks
from tests.support.results import make_ready_run

def record(number, run):
    return {
        "asin": f"B{number:09}",
        "title": f"Laptop {number}, 14 inch screen",
        "price_cents": 10_000 + number * 7_919 % 300_000 + (50 * run if (number + run) % 14 == 0 else 0),
        "currency": "AUD",
        "in_stock": (number + run) % 25 > 0,
        "seller_name": f"Shop {number % 40}",
        "position": (number * 31 + run * 17) % 5_000,
        **{f"detail_{index}": f"Detail {index} of {number % 97}" for index in range(13)},
    }

collection = Collection.objects.create(pk=101, team=team, name="AU Laptops")
TrackingSettings.objects.create(collection=collection, key_columns=["asin"])
for number in range(RUNS):
    at = timezone.now() - timedelta(days=RUNS - number)
    last = make_ready_run(collection, (record(each, number) for each in range(RECORDS)), at=at)
    build_slice(last)
build_blocks()
assert comparison_of(last, Run.objects.get(number=last.number - 1)).has_changes
"""


def measure(options: Options) -> Iterator[Row]:
    """Load all pages."""
    runs, records = options.either(RUNS, 12), RECORDS
    with running_site(options) as site:
        site.run_code(MAKE.replace("RUNS", str(runs)).replace("RECORDS", str(records)))
        page = partial(site.load, f"/collections/101/runs/{runs}", connections=1)

        def load(path: str) -> "partial[Load]":
            return partial(site.load, f"/collections/101/{path}", connections=1)

        changes = load(f"runs/{runs}/changes?since={runs - 1}")
        what = f"changes of 2 runs of {records:,} records, and the page of a run"
        yield from compare(what, changes, page, at_most(2), options)
        product = load("products/B000000014")
        what = f"product in {runs} runs of {records:,} records, and the page of a run"
        yield from compare(what, product, page, at_most(1), options)
        movers = site.load("/collections/101/movers?runs=30", connections=1)
        yield value_row(f"movers over 30 runs of {records:,} records, ms", movers.milliseconds, form="{:.1f}")


if __name__ == "__main__":
    run(measure, __doc__)
