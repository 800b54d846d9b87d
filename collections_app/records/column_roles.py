"""Find columns by their meaning, such as the price, whatever the vendor calls them."""

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import chain


class Role(Enum):
    """The meaning of a column, with its possible names, best first.

    Names are in lower case, and "_" is any separator: "price_value" is also `price.value` and `priceValue`.
    A price may be in cents: "price" is also `price_cents` and `priceInCents`.
    """

    # In the order in which tables show them.
    TITLE = "title product_title name product_name item_name display_name headline titel nama_produk"
    PRICE = (
        "price_cents price price_value price_amount current_price current_price_value price_current "
        "final_price sale_price selling_price offer_price offers_price our_price now_price price_now "
        "special_price discounted_price discount_price buybox_price buy_box_price "
        "buybox_prices_final_price preis prix precio prezzo prijs pris cena harga price_raw price_text "
        "price_string price_display price_formatted"
    )
    LIST_PRICE = (
        "list_price_cents list_price list_price_value price_list initial_price original_price "
        "price_original regular_price was_price price_was old_price price_old price_before full_price "
        "retail_price rrp msrp uvp strike_price strikethrough_price compare_at_price base_price"
    )
    STOCK = (
        "in_stock is_in_stock instock available is_available availability offers_availability "
        "availability_status availability_text stock_status inventory_status stock stock_level "
        "stock_count stock_quantity inventory verfuegbarkeit disponibilite disponibilidad disponibilita "
        "stok"
    )
    RATING = "rating stars rating_value average_rating avg_rating rating_average review_rating product_rating"
    REVIEWS = (
        "reviews_count review_count number_of_reviews num_reviews total_reviews reviews_total "
        "ratings_count rating_count ratings_total num_ratings reviews"
    )
    SELLER = (
        "seller_name seller buybox_seller buybox_seller_name buy_box_seller sold_by merchant "
        "merchant_name shop_name store_name"
    )
    BRAND = "brand brand_name manufacturer marke marque marca merk merek"
    CURRENCY = (
        "currency currency_code price_currency price_currency_code currency_symbol price_currency_symbol "
        "offers_price_currency final_price_currency"
    )


# Tables show these first.
_SHOWN_FIRST = [role for role in Role if role is not Role.CURRENCY]
_AMOUNTS = (Role.PRICE, Role.LIST_PRICE)
_LONGEST = 100
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[^a-z0-9]+")


def _names(role: Role) -> list[str]:
    names = role.value.split()
    if role not in _AMOUNTS:
        return names
    in_cents = [[name, f"{name}_cents", f"{name}_in_cents"] for name in names]
    return list(dict.fromkeys(chain.from_iterable(in_cents)))


_RANKS = {role: {name: rank for rank, name in enumerate(_names(role))} for role in Role}


def columns_of(role: Role, columns: Iterable[str]) -> list[str]:
    """Return the columns with this role, best first."""
    columns, ranks = list(columns), _RANKS[role]
    found = {column: ranks[name] for column in columns if (name := _plain(column)) in ranks}

    def is_object(column: str) -> bool:
        return any(each.startswith(f"{column}.") for each in columns)

    # A column that contains objects in other records comes last.
    return sorted(found, key=lambda column: (is_object(column), found[column]))


def is_price(column: str) -> bool:
    """Whether a column has the name of a price."""
    name = _plain(column)
    return any(name in _RANKS[role] for role in _AMOUNTS)


def is_title(column: str) -> bool:
    """Whether a column has the name of a title."""
    return _plain(column) in _RANKS[Role.TITLE]


def currency_column(price: str, columns: Iterable[str]) -> str | None:
    """Return the column that names the currency of a price: in the same object, or of the record."""
    found = columns_of(Role.CURRENCY, columns)
    for parent in (price.rpartition(".")[0], ""):
        for column in found:
            if column.rpartition(".")[0] == parent:
                return column
    return None


def shown_first(columns: Sequence[str]) -> list[str]:
    """Return the columns in the order in which tables show them: one of each role, then the others."""
    first = [found[0] for role in _SHOWN_FIRST if (found := columns_of(role, columns))]
    return list(dict.fromkeys([*first, *columns]))


def _plain(column: str) -> str:
    if len(column) > _LONGEST:
        return ""
    return _SEPARATORS.sub("_", _CAMEL.sub("_", column).lower()).strip("_")
