"""What the runs of a collection say about a product."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from collections_app.models import Collection
from collections_app.records.tracking import blocks, tracked_runs
from collections_app.records.tracking.history import History, histories_of, history_of
from collections_app.views.products.chart import Chart, chart_of
from collections_app.views.products.money import PriceFormat
from tests.support.products import LAPTOP, MOUSE, make_availability_run, make_tracked_run

pytestmark = pytest.mark.django_db

START = datetime(2026, 6, 1, 3, tzinfo=UTC)


def make_runs(collection: Collection, *laptops: Mapping[str, Any] | None, broken: int = -1) -> None:
    """Create a run for each day. None is a run without the laptop. `broken` is the index of a broken run."""
    for index, laptop in enumerate(laptops):
        content = [MOUSE] if laptop is None else [MOUSE, LAPTOP | dict(laptop)]
        make_tracked_run(collection, content, at=START + timedelta(days=index), is_broken=index == broken)


def price(amount: int, **other: Any) -> dict[str, Any]:
    return {"price": f"${amount:,}.00", **other}


def history(collection: Collection, key: str = '["B01"]') -> History:
    found = history_of(collection, key)
    assert found
    return found


def chart(collection: Collection) -> Chart:
    found = chart_of(collection, history(collection), PriceFormat(decimals=False))
    assert found
    return found


def test_figures_of_a_product(laptops: Collection) -> None:
    sellers = ("Nile", "Nile", "Volga", "")
    runs = zip((1200, 1000, 1100, 1400), sellers, (True, False, True, True), strict=True)
    make_runs(
        laptops,
        *(price(amount, seller_name=seller, in_stock=in_stock) for amount, seller, in_stock in runs),
    )
    found = history(laptops)
    assert found.lowest
    assert found.highest
    assert (found.lowest.amount, found.lowest.sighting.run.number) == (Decimal(1000), 2)
    assert (found.highest.amount, found.highest.sighting.run.number) == (Decimal(1400), 4)
    assert found.recent_median == 1150
    assert found.sold_out_share == pytest.approx(Decimal(1) / 3)
    assert found.sellers == [("Nile", 2), ("Volga", 1)]
    assert found.last_change
    assert (found.last_change.was, found.last_change.now) == (Decimal(1100), Decimal(1400))
    assert (found.newest.run.number, found.missed) == (4, 0)


def test_the_median_is_that_of_90_days(laptops: Collection) -> None:
    make_tracked_run(laptops, [LAPTOP | price(1)], at=START - timedelta(days=100))
    make_runs(laptops, price(1200))
    assert history(laptops).recent_median == 1200


def test_runs_that_are_not_trusted_do_not_count(laptops: Collection) -> None:
    make_runs(laptops, price(1200), price(12), price(1200), broken=1)
    found = history(laptops)
    assert found.lowest
    assert found.lowest.amount == 1200
    assert found.last_change is None
    assert len(found.sightings) == 3
    drawn = chart(laptops)
    assert [mark.is_trusted for mark in drawn.marks] == [True, False, True]
    assert drawn.path.count("M") == 1


def test_a_missing_product_leaves_a_gap_in_the_line(laptops: Collection) -> None:
    make_runs(laptops, price(1000), price(1100), None, price(1200))
    drawn = chart(laptops)
    # From the first run to the third, which lacks the product, and at the fourth.
    (first, second) = (part for part in drawn.path.split("M") if part)
    assert first.startswith("0.0 ")
    assert first.endswith("H666.7")
    assert second.startswith("1000.0 ")
    assert [point.text for point in drawn.points][2] == "Run 3, 3 Jun 2026: not found"


def test_a_price_stays_while_only_the_availability_is_scraped(laptops: Collection) -> None:
    make_runs(laptops, price(1000), price(1100))
    make_availability_run(laptops, [{"asin": "B01", "in_stock": True}], at=START + timedelta(days=2))
    make_tracked_run(laptops, [LAPTOP | price(1200)], at=START + timedelta(days=3))
    make_availability_run(laptops, [{"asin": "B01", "in_stock": False}], at=START + timedelta(days=4))
    found = history(laptops)
    assert (found.newest.run.number, found.newest_price.run.number) == (5, 4)
    assert found.title == "Laptop"
    assert chart(laptops).path.count("M") == 1


def test_the_axis_ignores_a_few_extreme_prices(laptops: Collection) -> None:
    make_runs(laptops, price(1000))
    found = history(laptops)
    (run,) = found.runs
    runs = [replace(run, number=number, created_at=START + timedelta(days=number)) for number in range(100)]
    (record,) = found.by_run[run.number]
    by_run = {each.number: [replace(record, amount=Decimal(1000 + each.number))] for each in runs}
    by_run[50] = [replace(record, amount=Decimal(999_999))]
    drawn = chart_of(laptops, History(runs, by_run), PriceFormat(decimals=False))
    assert drawn
    assert (drawn.prices[0], drawn.prices[-1], drawn.outside) == ("$ 1,125", "$ 975", 1)


def test_a_product_is_gone_if_the_newest_runs_lack_it(laptops: Collection) -> None:
    make_runs(laptops, price(1000), None, None)
    found = history(laptops)
    assert (found.newest.run.number, found.missed) == (1, 2)


def test_records_of_the_same_product_have_a_price_only_if_they_agree(laptops: Collection) -> None:
    make_tracked_run(laptops, [LAPTOP, LAPTOP], at=START)
    make_tracked_run(laptops, [LAPTOP, LAPTOP | price(5)], at=START + timedelta(days=1))
    assert [sighting.amount for sighting in history(laptops).sightings] == [1299, None]


def test_figures_are_in_the_newest_currency(laptops: Collection) -> None:
    make_runs(laptops, {"price": "€5.00"}, price(1200))
    found = history(laptops)
    assert (found.currency, found.other_currencies, len(found.priced)) == ("$", ["EUR"], 1)


def test_prices_in_cents_are_in_the_unit_of_the_currency(laptops: Collection) -> None:
    make_tracked_run(laptops, [{"asin": "B01", "price_cents": 129999, "currency": "AUD"}])
    assert history(laptops).newest.amount == Decimal("1299.99")


def test_prices_that_are_text_have_no_chart(laptops: Collection) -> None:
    make_runs(laptops, {"price": "from 5 to 9"})
    found = history(laptops)
    assert found.newest.first.price == "from 5 to 9"
    assert chart_of(laptops, found, PriceFormat(decimals=False)) is None


def test_an_unknown_product_has_no_history(laptops: Collection) -> None:
    assert history_of(laptops, '["B01"]') is None
    make_runs(laptops, None)
    assert history_of(laptops, '["B01"]') is None


def test_a_deleted_run_disappears_at_once(laptops: Collection) -> None:
    make_runs(laptops, price(1000), price(1100), price(1200), price(1300))
    laptops.runs.get(number=2).delete()
    assert [sighting.run.number for sighting in history(laptops).sightings] == [1, 3, 4]


def test_several_histories_are_read_at_once(laptops: Collection) -> None:
    make_runs(laptops, price(1000), None)
    found = histories_of(laptops, ['["B01"]', '["B02"]', '["B03"]'])
    assert {key: len(each.sightings) for key, each in found.items()} == {'["B01"]': 1, '["B02"]': 2}


def test_blocks_that_are_replaced_meanwhile_are_read_again(
    laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_runs(laptops, price(1000))
    calls: list[Any] = []

    def replaced_once(block: Any) -> Any:
        calls.append(block)
        if len(calls) == 1:
            raise FileNotFoundError
        return blocks.local_path(block)

    monkeypatch.setattr(tracked_runs, "local_path", replaced_once)
    assert len(history(laptops).sightings) == 1
