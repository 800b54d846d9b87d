"""Find columns by their meaning, such as the price, whatever the vendor calls them."""

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache


class Role(Enum):
    """The meaning of a column, with its possible names, best first.

    Names are in lower case, and "_" is any separator: "price_value" is also `price.value` and `priceValue`.
    A price may be in cents or in an object: "price" is also `price_cents`, `priceInCents` and `price.amount`.
    """

    # In the order in which tables show them.
    TITLE = "title product_title name product_name item_name display_name headline titel nama_produk"
    PRICE = (
        "price_cents price price_value price_amount current_price current_price_value price_current "
        "final_price sale_price selling_price offer_price offers_price our_price now_price price_now "
        "special_price discounted_price discount_price buybox_price buy_box_price "
        "buybox_prices_final_price preis prix precio prezzo prijs pris cena harga price_raw price_text "
        "price_string price_display price_formatted pricing_current prices_current price_final price_sale"
    )
    LIST_PRICE = (
        "list_price_cents list_price list_price_value price_list initial_price original_price "
        "price_original regular_price was_price price_was old_price price_old price_before full_price "
        "retail_price rrp msrp uvp strike_price strikethrough_price compare_at_price base_price"
    )
    STOCK = (
        "in_stock is_in_stock instock available is_available availability offers_availability "
        "availability_status availability_text availability_raw availability_type stock_status "
        "inventory_status stock stock_level stock_count stock_quantity inventory verfuegbarkeit "
        "disponibilite disponibilidad disponibilita stok"
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


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The words in the names of objects that contain a product's own values: `buybox_winner.price`, `data.title`.
_OWN = _words(
    """
    product products item data result record listing sku node body content payload page props properties
    fields attributes detail details info information main general summary basic core buybox buy box
    winner offer offers price prices pricing inventory
    """
)
# Names of objects with prices of something other than the product: `shipping.price`.
_NOT_PRODUCT = _words(
    """
    shipping shipment delivery freight postage tax vat fee fees deposit installment installments
    instalments financing coupon coupons saving savings unit warranty protection rental trade
    """
)
# Names of objects with other offers or other products: `other_offers.price`.
_OTHERS = _words(
    """
    other others more used refurbished renewed variant variants variation variations related similar
    sponsored alternative alternatives accessory accessories bundle recommended recommendations competitor
    competitors seller sellers subscribe subscription history lowest highest min max average
    """
)
_LONGEST = 100
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[^a-z0-9]+")


def _names(role: Role) -> list[str]:
    names = role.value.split()
    if role not in _AMOUNTS:
        return names
    ends = ("", "_cents", "_in_cents", "_value", "_amount")
    return list(dict.fromkeys(f"{name}{end}" for name in names for end in ends))


_RANKS = {role: {name: rank for rank, name in enumerate(_names(role))} for role in Role}


def columns_of(role: Role, columns: Iterable[str]) -> list[str]:
    """Return the columns with this role, best first. Nested ones come later."""
    columns = list(columns)
    found = {column: rank for column in columns if (rank := _rank(role, column)) is not None}

    def is_object(column: str) -> bool:
        return any(each.startswith(f"{column}.") for each in columns)

    # A column that contains objects in other records comes last.
    return sorted(found, key=lambda column: (is_object(column), found[column]))


def is_price(column: str) -> bool:
    """Whether a column has the name of a price."""
    return any(_rank(role, column) is not None for role in _AMOUNTS)


def is_title(column: str) -> bool:
    """Whether a column has the name of a title."""
    return _rank(Role.TITLE, column) is not None


def currency_column(price: str, columns: Iterable[str]) -> str | None:
    """Return the column that names the currency of a price: in its object, or the closest one around it."""
    by_parent: dict[str, str] = {}
    for column in columns_of(Role.CURRENCY, columns):
        by_parent.setdefault(column.rpartition(".")[0], column)
    parent = price
    while parent:
        parent = parent.rpartition(".")[0]
        if parent in by_parent:
            return by_parent[parent]
    return None


def shown_first(columns: Sequence[str]) -> list[str]:
    """Return the columns in the order in which tables show them: one of each role, then the others."""
    first = [found[0] for role in _SHOWN_FIRST if (found := columns_of(role, columns))]
    return list(dict.fromkeys([*first, *columns]))


@lru_cache(8192)
def _rank(role: Role, column: str) -> tuple[int, int] | None:
    """Return how good a column is for a role, or None if it has another one. The best rank is the lowest.

    Its name is that of the role, or its last names are: `data.final_price`, `buybox_winner.price.value`.
    """
    names = [*map(_plain, column.split("."))] if len(column) <= _LONGEST else []
    roles = _AMOUNTS if role in _AMOUNTS else (role,)
    for start in range(len(names)):
        last = "_".join(filter(None, names[start:]))
        if any(last in _RANKS[each] for each in roles):
            nesting = _nesting(role, "_".join(names[:start]))
            return None if nesting is None or last not in _RANKS[role] else (nesting, _RANKS[role][last])
    return None


def _nesting(role: Role, around: str) -> int | None:
    """Return how far a value is from the product, by the names of the objects around it.

    Return None if it doesn't belong to a product.
    """
    words = set(filter(None, around.split("_")))
    if not words:
        return 0
    if role is Role.CURRENCY or words <= _OWN:
        return 1
    if role not in _AMOUNTS or words & _NOT_PRODUCT:
        return None
    return 3 if words & _OTHERS else 2


def _plain(column: str) -> str:
    return _SEPARATORS.sub("_", _CAMEL.sub("_", column).lower()).strip("_")
