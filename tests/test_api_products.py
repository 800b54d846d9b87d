"""The history of a product: /api/v1/collections/{collection_id}/products/{product_key}.json."""

from typing import Any

import pytest
from django.test import Client

from collections_app.api import products
from collections_app.models import Collection
from collections_app.records.tracking.tracked_runs import ProductsUnavailable
from tests.support.openapi import api_error, check_schema
from tests.support.products import LAPTOP, MOUSE, make_tracked_run
from tests.support.responses import Response

pytestmark = pytest.mark.django_db

ADDRESS = "/api/v1/collections/101/products/B01.json"


def fetch(client: Client, key: str, address: str = ADDRESS) -> Response:
    response: Response = client.get(address, headers={"x-api-key": key})
    return response


def test_the_history_of_a_product(client: Client, bobs_key: str, laptops: Collection) -> None:
    make_tracked_run(laptops, [MOUSE, LAPTOP])
    make_tracked_run(laptops, [LAPTOP | {"price": "$1,149.50", "in_stock": False}])
    found: dict[str, Any] = fetch(client, bobs_key).json()
    check_schema("ProductResponse", found)
    product = found["data"]
    assert product["key"] == ["B01"]
    assert (product["lowest"], product["highest"]) == (
        {"price": 1149.5, "run": 2},
        {"price": 1299.0, "run": 1},
    )
    assert [(each["run"], each["record"], each["price"]) for each in product["observations"]] == [
        (2, 1, 1149.5),
        (1, 2, 1299.0),
    ]
    assert [each["in_stock"] for each in product["observations"]] == [False, True]


def test_errors_say_what_to_do(
    client: Client, bobs_key: str, laptops: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api_error(fetch(client, bobs_key))[0] == 409
    make_tracked_run(laptops, [MOUSE])
    assert api_error(fetch(client, bobs_key)) == (
        404,
        "The product isn't in the newest 1,000 runs of this collection.",
    )

    def fail(*_: object) -> None:
        raise ProductsUnavailable("Try again later.")

    monkeypatch.setattr(products, "history_of", fail)
    assert api_error(fetch(client, bobs_key)) == (503, "Try again later.")


def test_keys_may_contain_slashes(client: Client, bobs_key: str, laptops: Collection) -> None:
    make_tracked_run(laptops, [LAPTOP | {"asin": "https://shop.example/a.json"}])
    address = "/api/v1/collections/101/products/https://shop.example/a.json.json"
    assert fetch(client, bobs_key, address).status_code == 200
