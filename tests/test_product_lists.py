"""Search for products, and the biggest movers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from collections_app.models import Collection, Team
from collections_app.records.tracking.movers import movers_of
from collections_app.records.tracking.product_search import search_products
from tests.support.products import LAPTOP, MOUSE, make_availability_run, make_tracked_run

pytestmark = pytest.mark.django_db

START = datetime(2026, 6, 1, 3, tzinfo=UTC)


def found(team: Team, text: str) -> list[tuple[int, str]]:
    return [(each.collection.pk, each.key) for each in search_products(team, text).products]


class TestSearch:
    @pytest.mark.parametrize("text", ["B01", " B01 ", "laptop", "LÄPTOP 16", "gb laptop"])
    def test_products_are_found_by_key_and_by_words_of_the_title(
        self, crawlers: Team, laptops: Collection, text: str
    ) -> None:
        make_tracked_run(laptops, [LAPTOP | {"title": "Laptop 16 GB"}, MOUSE])
        assert found(crawlers, text) == [(laptops.pk, '["B01"]')]

    @pytest.mark.parametrize("text", ["", "  ", "B0", "laptop phone", '"', "%", "\\"])
    def test_others_are_not_found(self, crawlers: Team, laptops: Collection, text: str) -> None:
        make_tracked_run(laptops)
        assert found(crawlers, text) == []

    def test_all_collections_of_the_team_are_searched_and_no_others(
        self, crawlers: Team, laptops: Collection, headphones: Collection, secret_plans: Collection
    ) -> None:
        for collection in (laptops, headphones, secret_plans):
            make_tracked_run(collection, [LAPTOP])
        assert {pk for pk, _ in found(crawlers, "B01")} == {laptops.pk, headphones.pk}

    def test_the_price_is_that_of_the_newest_run(self, as_bob: Client, laptops: Collection) -> None:
        make_tracked_run(laptops)
        make_tracked_run(laptops, [LAPTOP | {"price": "$999.00"}])
        html = as_bob.get("/products/?q=B01").content.decode()
        assert "$ 999" in html
        assert 'href="/collections/101/products/B01"' in html

    def test_prices_and_titles_stay_when_only_the_availability_is_scraped(
        self, as_bob: Client, laptops: Collection
    ) -> None:
        make_tracked_run(laptops, [LAPTOP, MOUSE | {"price": "$15.50"}])
        make_availability_run(laptops, [{"asin": "B01", "in_stock": True}, {"asin": "B03"}])
        html = as_bob.get("/products/?q=B01").content.decode()
        assert ">Laptop</a>" in html
        assert "$ 1,299" in html
        assert ">B03</a>" in as_bob.get("/products/?q=B03").content.decode()

    def test_runs_that_are_not_trusted_are_not_searched(self, as_bob: Client, laptops: Collection) -> None:
        make_tracked_run(laptops)
        make_tracked_run(laptops, [LAPTOP | {"price": "$129,900.00"}], is_broken=True)
        html = as_bob.get("/products/?q=B01").content.decode()
        assert "$ 1,299" in html
        assert "129,900" not in html

    def test_products_that_an_incomplete_run_lacks_are_found(
        self, crawlers: Team, laptops: Collection
    ) -> None:
        make_tracked_run(laptops)
        make_tracked_run(laptops, [LAPTOP])
        assert found(crawlers, "B01") == [(laptops.pk, '["B01"]')]
        assert found(crawlers, "B02") == [(laptops.pk, '["B02"]')]

    def test_prices_have_the_same_decimals(self, as_bob: Client, laptops: Collection) -> None:
        make_tracked_run(laptops, [LAPTOP, LAPTOP | {"asin": "B02", "price": "$15.50"}])
        assert "$ 1,299.00" in as_bob.get("/products/?q=laptop").content.decode()

    def test_the_page_says_when_nothing_is_found(self, as_bob: Client, laptops: Collection) -> None:
        assert "No products found" in as_bob.get("/products/?q=nothing").content.decode()
        assert "Enter the key" in as_bob.get("/products/").content.decode()


def make_runs(collection: Collection, *prices: dict[str, int], broken: int = -1) -> None:
    """Create a run for each day, with prices by keys."""
    for index, each in enumerate(prices):
        content: list[dict[str, Any]] = [
            {"asin": key, "title": f"Product {key}", "price": price} for key, price in each.items()
        ]
        make_tracked_run(collection, content, at=START + timedelta(days=index), is_broken=index == broken)


class TestMovers:
    def test_runs_that_only_scraped_the_availability_do_not_count(self, laptops: Collection) -> None:
        make_runs(laptops, {"A": 100}, {"A": 80})
        make_availability_run(laptops, [{"asin": "A", "in_stock": True}], at=START + timedelta(days=2))
        movers = movers_of(laptops, 1)
        assert movers.newest
        assert (movers.newest.number, movers.runs) == (2, 1)
        assert [each.percent for each in movers.falls] == [Decimal(-20)]

    def test_prices_are_compared_with_their_median(self, laptops: Collection) -> None:
        make_runs(
            laptops,
            {"A": 100, "B": 100, "C": 100, "D": 100},
            {"A": 300, "B": 100, "C": 100},
            {"A": 100, "B": 100, "C": 100},
            {"A": 80, "B": 150, "C": 100, "E": 5},
        )
        movers = movers_of(laptops, 7)
        assert [(each.key, float(each.percent)) for each in movers.falls] == [('["A"]', -20)]
        assert [(each.key, each.title, float(each.percent)) for each in movers.rises] == [
            ('["B"]', "Product B", 50)
        ]
        assert movers.runs == 3

    def test_only_the_chosen_number_of_runs_counts(self, laptops: Collection) -> None:
        make_runs(laptops, {"A": 500}, {"A": 500}, {"A": 100}, {"A": 80})
        assert float(movers_of(laptops, 1).falls[0].percent) == -20

    def test_runs_that_are_not_trusted_do_not_count(self, laptops: Collection) -> None:
        make_runs(laptops, {"A": 100}, {"A": 80}, {"A": 8000}, broken=2)
        movers = movers_of(laptops, 7)
        assert movers.newest
        assert (movers.newest.number, len(movers.falls), movers.rises) == (2, 1, [])

    def test_a_change_that_is_too_large_is_no_move(self, as_bob: Client, laptops: Collection) -> None:
        for price in ("0.000000000000000001", "999999999999999999"):
            make_tracked_run(laptops, [LAPTOP | {"price": price}])
        assert movers_of(laptops, 7).rises == []
        as_bob.post("/collections/101/watchlist", {"keys": "B01"})
        assert "999,999,999,999,999,999" in as_bob.get("/collections/101/watchlist").content.decode()
        assert "999,999,999,999,999,999" in as_bob.get("/collections/101/products/B01").content.decode()

    def test_the_page_shows_falls_and_rises(self, as_bob: Client, laptops: Collection) -> None:
        assert "has no key" in as_bob.get("/collections/101/movers").content.decode()
        make_runs(laptops, {"A": 100, "B": 100}, {"A": 80, "B": 130})
        html = as_bob.get("/collections/101/movers?runs=30").content.decode()
        assert "-20.0%" in html
        assert "+30.0%" in html
        assert 'href="/collections/101/products/A"' in html
