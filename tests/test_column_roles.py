"""Columns that mean the same, whatever the vendor calls them."""

from collections_app.records.column_roles import Role, columns_of, currency_column, shown_first


def test_the_price_is_found_whatever_the_vendor_calls_it() -> None:
    names = [
        "price",
        "Price",
        "finalPrice",
        "final_price",
        "price.value",
        "buybox-price",
        "Sale Price",
        "price_cents",
        "priceCents",
        "salePriceCents",
        "price.valueCents",
        "priceInCents",
    ]
    for name in names:
        assert columns_of(Role.PRICE, ["asin", name, "list_price"]) == [name]
    others = [
        "price_per_unit",
        "list_price",
        "shipping_price",
        "price.currency",
        "priceless",
        "shipping_price_cents",
        "x" * 200 + "price",
        "",
    ]
    assert columns_of(Role.PRICE, others) == []


def test_the_best_name_comes_first() -> None:
    columns = ["buybox_price", "price.raw", "price.value", "price_cents"]
    assert columns_of(Role.PRICE, columns) == ["price_cents", "price.value", "buybox_price", "price.raw"]
    assert columns_of(Role.PRICE, ["price", "price.value"]) == ["price.value", "price"]
    assert columns_of(Role.PRICE, ["price", "price_value"]) == ["price", "price_value"]


def test_nested_values_are_found_by_their_last_names() -> None:
    prices = ["buybox_winner.price.value", "product.price", "data.final_price", "pricing.price", "shop.price"]
    for name in prices:
        assert columns_of(Role.PRICE, ["asin", name, f"{name}s", "product.list_price"]) == [name]
    assert columns_of(Role.LIST_PRICE, [*prices, "data.was.price", "product.rrp.amount"]) == [
        *("data.was.price", "product.rrp.amount")
    ]
    for role, name in ((Role.TITLE, "data.product.title"), (Role.STOCK, "buybox_winner.availability.raw")):
        assert columns_of(role, ["brand.name", "variants.title", name, "other.availability"]) == [name]


def test_the_products_own_price_comes_before_those_of_other_offers() -> None:
    columns = [
        "other_offers.price",
        "shipping.price",
        "store.price",
        "product.price",
        "buybox.shipping.price",
    ]
    assert columns_of(Role.PRICE, columns) == ["product.price", "store.price", "other_offers.price"]
    assert columns_of(Role.PRICE, [*columns, "buybox_price"])[0] == "buybox_price"


def test_the_closest_currency_belongs_to_a_price() -> None:
    columns = ["currency", "data.currency", "data.pricing.price", "shipping.currency", "product.price"]
    assert currency_column("data.pricing.price", columns) == "data.currency"
    assert currency_column("product.price", columns) == "currency"
    assert currency_column("product.price", columns[1:]) is None


def test_columns_are_shown_by_their_meaning_then_as_in_the_file() -> None:
    columns = [
        "asin",
        "url",
        "brand",
        "final_price",
        "initial_price",
        "currency",
        "title",
        "in_stock",
        "rating",
    ]
    assert shown_first([*columns, "reviews_count", "seller_name", "name"]) == [
        *(
            "title",
            "final_price",
            "initial_price",
            "in_stock",
            "rating",
            "reviews_count",
            "seller_name",
            "brand",
        ),
        *("asin", "url", "currency", "name"),
    ]


def test_columns_of_real_shops() -> None:
    lazada = [
        "url",
        "title",
        "rating",
        "reviews",
        "initial_price",
        "final_price",
        "currency",
        "image",
        "brand",
    ]
    assert shown_first(lazada)[:6] == ["title", "final_price", "initial_price", "rating", "reviews", "brand"]
    shein = ["product_name", "initial_price", "final_price", "in_stock", "reviews_count", "rating", "brand"]
    assert shown_first(shein)[:4] == ["product_name", "final_price", "initial_price", "in_stock"]
