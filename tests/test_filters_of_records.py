"""Filters of a run's records: on its page, and in exports."""

import json
from typing import Any

import pytest
from django.test import Client

from collections_app.models import Collection, Export, Run
from tests.support import responses
from tests.support.previews import at_once  # noqa: F401
from tests.support.results import make_ready_run
from tests.test_view_run import address, numbers, page, words

pytestmark = pytest.mark.django_db

EAN = 12345678901234567890
SHOP: list[dict[str, Any]] = [
    {"brand": "Lenovo", "price": "$1,299.00", "stars": 4.5, "ean": EAN, "at": "2026-06-20"},
    {"brand": "Asus, Inc.", "price": "$89.99", "stars": 5, "ean": EAN + 1, "at": "2026-06-20T12:00Z"},
    {"brand": "", "price": "$9.50", "stars": -1, "ean": EAN + 2, "at": "2026-06-21 00:00:00+02:00"},
    {"brand": None, "price": None, "stars": 1e308, "at": "soon"},
]


@pytest.fixture
def shop(laptops: Collection) -> Run:
    return make_ready_run(laptops, SHOP)


FOUND = [
    (["brand,is,Lenovo"], [1]),
    (['brand,is,"Asus, Inc."'], [2]),
    (["brand,is,lenovo"], []),
    (["brand,missing"], [3, 4]),
    (["price,from,9.50,below,89.99"], [3]),
    (["price,from,9.50,to,89.99"], [2, 3]),
    (["stars,below,4.5"], [3]),
    (["stars,from,4.5"], [1, 2, 4]),
    (["stars,from,1e308"], [4]),
    ([f"ean,from,{EAN},below,{EAN + 2}"], [1, 2]),
    (["at,from,2026-06-20,below,2026-06-21"], [1, 2, 3]),
    (["at,from,2026-06-20T12:00:00Z,below,2026-06-20T22:00Z"], [2]),
    (["brand,missing", "stars,to,5"], [3]),
]


def test_filters_select_exactly_these_records(as_bob: Client, shop: Run) -> None:
    for filters, found in FOUND:
        text = page(as_bob, shop, {"filter": filters})
        assert (numbers(text) if found else []) == found, filters
        assert ("No matching records" in words(text)) == (not found)


INVALID = [
    ("brand", "Invalid “filter” parameter “brand”. Use a list such as"),
    ("brand,is,", "Use a list such as"),
    ("stars,from,x", "Bounds must be numbers or dates."),
    ("at,from,2026-02-30", "Bounds must be numbers or dates."),
    ("stars,from,2026-06-20,to,5", "Bounds must be numbers or dates."),
    ("nothing,missing", "Can't filter by “nothing”. These records have no such column."),
    ("brand,from,1", "Can't filter “brand” by numbers. It contains other values."),
    ("price,from,1e30", "The bound 1e30 of “price” has too many digits."),
]


def test_an_invalid_filter_is_explained(as_bob: Client, shop: Run) -> None:
    for each, problem in INVALID:
        response = as_bob.get(address(shop), {"filter": each})
        assert response.status_code == 400
        assert problem in words(response.content.decode())


def test_a_filter_is_shown_and_can_be_removed(as_bob: Client, shop: Run) -> None:
    text = page(
        as_bob, shop, {"q": "a", "sort": "price", "filter": ["price,from,10,below,100", "stars,from,4"]}
    )
    assert "price: 10 to under 100" in words(text)
    assert "stars: 4 or more" in words(text)
    assert "1 record matches “a”" in words(text)
    assert 'href="/collections/101/runs/1/?q=a&amp;sort=price&amp;filter=stars%2Cfrom%2C4#records"' in text
    assert "Remove the filter" not in words(page(as_bob, shop))


def test_an_export_contains_the_filtered_records(as_bob: Client, shop: Run) -> None:
    query = "filter=stars,from,0,to,5&q=asus"
    assert "records.csv?q=asus&amp;filter=stars%2Cfrom%2C0%2Cto%2C5" in page(as_bob, shop, f"?{query}")
    response = as_bob.get(address(shop, f"records.json?{query}"))
    assert [each["brand"] for each in json.loads(responses.content(response))] == ["Asus, Inc."]
    assert "Records that match “asus” and stars: 0 to 5 · All columns" in words(
        as_bob.get(address(shop, f"export?{query}")).content.decode()
    )


def test_an_export_that_cannot_be_filtered_says_why(as_bob: Client, shop: Run) -> None:
    assert as_bob.get(address(shop, "records.json?filter=nothing,missing")).status_code == 302
    problem = "Can't filter by “nothing”. These records have no such column."
    assert [export.failure for export in Export.objects.all()] == [problem]
    assert as_bob.get(address(shop, "records.json?filter=x")).status_code == 400
