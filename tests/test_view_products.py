"""The page of a product, and the watchlist."""

from urllib.parse import quote

import pytest
from django.test import Client

from collections_app.models import Collection, TrackingSettings, WatchedProduct
from tests.support.html import links
from tests.support.products import LAPTOP, MOUSE, make_availability_run, make_tracked_run

pytestmark = pytest.mark.django_db


def page(client: Client, collection: Collection, key: str = "B01", query: str = "") -> str:
    response = client.get(f"/collections/{collection.pk}/products/{quote(key)}{query}")
    assert response.status_code == 200
    return response.content.decode()


def test_a_page_shows_a_products_price_and_its_records(as_bob: Client, laptops: Collection) -> None:
    make_tracked_run(laptops)
    make_tracked_run(laptops, [LAPTOP | {"price": "$999.00"}])
    html = page(as_bob, laptops)
    assert "<h1>Laptop</h1>" in html
    assert "$ 999" in html
    assert "<svg" in html
    assert 'href="/collections/101/runs/2/records/1"' in html
    assert "Nile" in html


def test_a_product_that_is_gone(as_bob: Client, laptops: Collection) -> None:
    make_tracked_run(laptops)
    make_tracked_run(laptops, [MOUSE])
    html = page(as_bob, laptops)
    assert "Not in the newest run" in html
    assert "Not found" in html


def test_the_price_stays_when_only_the_availability_is_scraped(as_bob: Client, laptops: Collection) -> None:
    make_tracked_run(laptops)
    make_availability_run(laptops, [{"asin": "B01", "in_stock": False}])
    html = page(as_bob, laptops)
    assert "<h1>Laptop</h1>" in html
    assert "No price" not in html
    assert "Out of stock" in html
    assert 'price in <a href="/collections/101/runs/1/records/1">run 1</a>' in html
    WatchedProduct.objects.create(collection=laptops, key='["B01"]')
    watchlist = as_bob.get("/collections/101/watchlist").content.decode()
    assert ">Laptop</a>" in watchlist
    assert "$ 1,299" in watchlist


def test_runs_that_lack_a_product_may_not_be_trusted(as_bob: Client, laptops: Collection) -> None:
    make_tracked_run(laptops)
    make_tracked_run(laptops, [MOUSE])
    make_tracked_run(laptops, [MOUSE], is_broken=True)
    html = page(as_bob, laptops)
    assert (html.count("Not found"), html.count("Not trusted")) == (2, 1)


def test_duplicates_are_marked(as_bob: Client, laptops: Collection) -> None:
    make_tracked_run(laptops, [LAPTOP, LAPTOP | {"price": "$5.00"}])
    assert page(as_bob, laptops).count("Duplicate") == 2


def test_prices_that_name_no_currency_have_that_of_the_collection(
    as_bob: Client, laptops: Collection
) -> None:
    Collection.objects.update(currency="AUD")
    make_tracked_run(laptops, [LAPTOP | {"price": 999}])
    assert "AUD 999" in page(as_bob, laptops)


def test_prices_that_are_text_are_shown_as_they_are(as_bob: Client, laptops: Collection) -> None:
    make_tracked_run(laptops, [LAPTOP | {"price": "from 5 to 9"}])
    html = page(as_bob, laptops)
    assert "from 5 to 9" in html
    assert "can&#x27;t be read as amounts" in html or "can't be read as amounts" in html


@pytest.mark.parametrize("key", ["https://shop.example/a b?c=1&d=2#e", 'x"<script>', "äöü/日本", "a,b"])
def test_a_key_can_contain_any_characters(as_bob: Client, laptops: Collection, key: str) -> None:
    make_tracked_run(laptops, [LAPTOP | {"asin": key}])
    html = page(as_bob, laptops, key)
    assert "<script>x" not in html


@pytest.mark.parametrize(
    "key", ["..", ".", "a/../b", "a\nb", "\0", "a\x1fb", "%2e%2e", "?", "#", ".json", "a//b", "\\", "\u202e"]
)
def test_links_lead_to_products_with_unusual_keys(
    as_bob: Client, client: Client, bobs_key: str, laptops: Collection, key: str
) -> None:
    since, run = (make_tracked_run(laptops, [LAPTOP | {"asin": key, "price": price}]) for price in (1, 2))
    changes = as_bob.get(f"/collections/101/runs/{run.number}/changes?since={since.number}")
    (address,) = {link for link in links(changes).values() if "/101/products/" in link}
    assert not {".", ".."} & set(address.split("/"))
    assert as_bob.get(address).status_code == 200
    assert address in as_bob.get("/collections/101/movers").content.decode()
    assert as_bob.post("/collections/101/watchlist", {"product": key, "watch": "on"}).status_code == 302
    assert address in as_bob.get("/collections/101/watchlist").content.decode()
    api = client.get(f"/api/v1{address}.json", headers={"x-api-key": bobs_key})
    assert api.json()["data"]["key"] == [key]


def test_a_key_of_several_columns_is_a_list(as_bob: Client, laptops: Collection) -> None:
    TrackingSettings.objects.create(collection=laptops, key_columns=["asin", "postcode"])
    make_tracked_run(laptops, [LAPTOP | {"postcode": "2000"}])
    page(as_bob, laptops, "B01,2000")
    assert as_bob.get("/collections/101/products/B01").status_code == 404


def test_an_unknown_product_is_not_found(as_bob: Client, laptops: Collection) -> None:
    assert "has no key" in as_bob.get("/collections/101/products/B01").content.decode()
    make_tracked_run(laptops)
    response = as_bob.get("/collections/101/products/B09")
    assert response.status_code == 404
    assert "“B09”" in response.content.decode()


class TestWatchlist:
    def test_a_product_is_added_and_removed_with_one_click(self, as_bob: Client, laptops: Collection) -> None:
        make_tracked_run(laptops)
        assert "Add to watchlist" in page(as_bob, laptops)
        data = {"product": "B01", "back": "product", "watch": "on"}
        response = as_bob.post("/collections/101/watchlist", data)
        assert response["Location"] == "/collections/101/products/B01"
        assert "Remove from watchlist" in page(as_bob, laptops)
        as_bob.post("/collections/101/watchlist", data | {"watch": "off"})
        assert not WatchedProduct.objects.exists()

    def test_pasted_keys_are_added_and_others_reported(self, as_bob: Client, laptops: Collection) -> None:
        make_tracked_run(laptops)
        html = as_bob.post("/collections/101/watchlist", {"keys": " B01 \n\nB01\r\nB09\n"}).content.decode()
        assert "Added 1 product. Ignored 1 duplicate." in html
        assert "The newest runs don&#x27;t contain “B09”" in html
        assert ">B09</textarea>" in html
        assert list(WatchedProduct.objects.values_list("key", flat=True)) == ['["B01"]']

    def test_the_page_shows_prices_and_their_last_change(self, as_bob: Client, laptops: Collection) -> None:
        make_tracked_run(laptops)
        make_tracked_run(laptops, [LAPTOP | {"price": "$1,149.00"}])
        as_bob.post("/collections/101/watchlist", {"keys": "B01\nB02"})
        html = as_bob.get("/collections/101/watchlist").content.decode()
        assert "$ 1,149" in html
        assert "-11.5%" in html
        assert "Not in the newest run" in html

    def test_a_watchlist_has_at_most_200_products(
        self, as_bob: Client, laptops: Collection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(WatchedProduct, "MOST", 1)
        make_tracked_run(laptops)
        html = as_bob.post("/collections/101/watchlist", {"keys": "B01\nB02"}).content.decode()
        assert "this one has room for 1 more" in html
        assert not WatchedProduct.objects.exists()

    def test_without_a_key_nothing_can_be_added(self, as_bob: Client, laptops: Collection) -> None:
        assert "Choose a key" in as_bob.get("/collections/101/watchlist").content.decode()
        assert as_bob.post("/collections/101/watchlist", {"product": "B01"}).status_code == 400
